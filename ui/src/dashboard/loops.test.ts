import { expect, it } from 'vitest';
import type { LoopHealth } from '../api/schema';
import { unwell } from './loops';

const now = Date.UTC(2026, 10, 23, 12);
const loop = (changes: Partial<LoopHealth>): LoopHealth => ({
  name: 'lost-runs',
  server: 'here:1',
  interval_seconds: 5,
  started: new Date(now - 3_600_000).toISOString(),
  last_tick: new Date(now - 4000).toISOString(),
  last_seconds: 0.01,
  ticks: 700,
  failures: 0,
  last_error: null,
  ...changes,
});

it('says nothing of a loop that is well', () => expect(unwell(loop({ failures: 2 }), now)).toBeNull());
it('says that a loop stands still', () =>
  expect(unwell(loop({ last_tick: new Date(now - 600_000).toISOString() }), now)).toBe(
    'It has not run for 10 m 00 s; it should every 5.00 s.',
  ));
it('says that a loop never began', () =>
  expect(unwell(loop({ last_tick: null }), now)).toBe('It has not run yet, though the server started 1 h 00 m ago.'));
it('says why it failed', () => expect(unwell(loop({ last_error: 'disk full' }), now)).toBe('Its last round failed: disk full'));
