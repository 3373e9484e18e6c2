// Whether the server's background loops do their work.
import type { LoopHealth } from '../api/schema';
import { duration } from '../parts/times';

/** What is wrong with a loop, in words; null if it is well. */
export function unwell(loop: LoopHealth, now: number): string | null {
  const last = loop.last_tick ? Date.parse(loop.last_tick) : Date.parse(loop.started);
  const silent = (now - last) / 1000;
  // A round may take a while, and clocks of two machines differ a little.
  if (silent > 3 * loop.interval_seconds + 30)
    return loop.last_tick
      ? `It has not run for ${duration(silent)}; it should every ${duration(loop.interval_seconds)}.`
      : `It has not run yet, though the server started ${duration(silent)} ago.`;
  return loop.last_error ? `Its last round failed: ${loop.last_error}` : null;
}
