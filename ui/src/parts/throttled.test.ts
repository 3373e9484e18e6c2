import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { throttled } from './throttled';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

it('does the work once for many events, and once more for those that came meanwhile', async () => {
  let done = 0;
  const work = throttled(async () => void (done += 1), 1000);
  for (let n = 0; n < 100; n++) work.soon();
  await vi.advanceTimersByTimeAsync(60);
  expect(done).toBe(1);
  for (let n = 0; n < 100; n++) work.soon();
  await vi.advanceTimersByTimeAsync(900);
  expect(done).toBe(1);
  await vi.advanceTimersByTimeAsync(100);
  expect(done).toBe(2);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(done).toBe(2);
});

it('pauses longer where the work takes long', async () => {
  let done = 0;
  const work = throttled(() => new Promise((resolve) => setTimeout(() => resolve(void (done += 1)), 2000)), 1000);
  work.now();
  work.soon();
  await vi.advanceTimersByTimeAsync(2000);
  expect(done).toBe(1);
  await vi.advanceTimersByTimeAsync(5900);
  expect(done).toBe(1);
  await vi.advanceTimersByTimeAsync(2200);
  expect(done).toBe(2);
});

it('does nothing any more once it is stopped', async () => {
  let done = 0;
  const work = throttled(async () => void (done += 1));
  work.soon();
  work.stop();
  work.soon();
  work.now();
  await vi.advanceTimersByTimeAsync(5000);
  expect(done).toBe(0);
});
