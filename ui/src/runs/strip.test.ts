import { describe, expect, it } from 'vitest';
import { durationTicks, grown, nearest, timeAt, timeTicks, viewOf, withDots, x, y, type Dot } from './strip';

function dot(id: string, at: number, seconds = 1): Dot {
  return { id, type: 'COMPLETED', at, seconds, since: null };
}

describe('viewOf', () => {
  const view = viewOf([dot('a', 100_000, 0.1), dot('b', 200_000, 10)], null, null, 1000, 100);

  it('has room for all', () => {
    for (const [at, seconds] of [
      [100_000, 0.1],
      [200_000, 10],
    ] as const) {
      expect(x(view, at)).toBeGreaterThan(0);
      expect(x(view, at)).toBeLessThan(1000);
      expect(y(view, seconds)).toBeGreaterThan(0);
      expect(y(view, seconds)).toBeLessThan(100);
    }
  });

  it('puts what took long above', () => expect(y(view, 10)).toBeLessThan(y(view, 0.1)));
  it('goes back from a place to its time', () => expect(timeAt(view, x(view, 150_000))).toBeCloseTo(150_000));
  it('finds the nearest', () => {
    const dots = [dot('a', 100_000, 0.1), dot('b', 200_000, 10)];
    expect(nearest(dots, view, x(view, 200_000) + 3, y(view, 10), 12)?.id).toBe('b');
    expect(nearest(dots, view, 500, 50, 12)).toBeNull();
  });
  it('survives nothing at all', () => expect(Number.isFinite(x(viewOf([], null, null, 100, 100), 5))).toBe(true));
  it('shows the time that is asked for', () =>
    expect(viewOf([dot('a', 5)], 0, 10, 100, 100)).toMatchObject({ from: 0, to: 10 }));
});

it('takes in changes, and keeps the newest', () => {
  const dots = withDots([dot('a', 1), dot('b', 2), dot('c', 3)], [dot('b', 2, 9), dot('d', 4)], ['c'], 2);
  expect(dots.map(({ id, seconds }) => [id, seconds])).toEqual([
    ['d', 1],
    ['b', 9],
  ]);
});

it('lets grow what goes on', () => {
  const dots = grown([dot('a', 1, 2), { ...dot('b', 1, 2), since: 1000 }], 4000);
  expect(dots.map(({ seconds }) => seconds)).toEqual([2, 5]);
});

it('writes round durations and times', () => {
  const view = viewOf([dot('a', 0, 0.5), dot('b', 600_000, 100)], null, null, 800, 100);
  expect(durationTicks(view)).toEqual([1, 10, 60]);
  const { step, moments } = timeTicks(view, 0);
  expect(step).toBe(300_000);
  expect(moments.every((moment) => moment % step === 0)).toBe(true);
});
