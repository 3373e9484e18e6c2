// How many runs there were in each span of time, as bars.
import type { HistoryInterval } from '../api/schema';
import { STATE_TYPES, type StateType } from '../api/types';
import { plural } from '../parts/times';
import { stateWord } from '../parts/states';

const HOUR = 3_600_000;

export interface Range {
  /** As it stands in addresses: `24h`. */
  name: string;
  words: string;
  milliseconds: number;
  /** Of one bar. */
  width: number;
}

export const RANGES: readonly Range[] = [
  { name: '24h', words: '24 hours', milliseconds: 24 * HOUR, width: HOUR },
  { name: '7d', words: '7 days', milliseconds: 168 * HOUR, width: 3 * HOUR },
];

export function rangeOf(name: string | null): Range {
  return RANGES.find((range) => range.name === name) ?? (RANGES[0] as Range);
}

/** The span of the bars: it ends with the one that is not over yet, and its bars begin at whole hours of the viewer's clock. */
export function spanOf(range: Range, now: number, zoneMinutes: number): { begin: number; end: number } {
  const shift = zoneMinutes * 60_000;
  const end = Math.ceil((now + 1 - shift) / range.width) * range.width + shift;
  return { begin: end - range.milliseconds, end };
}

export interface Bar {
  begin: number;
  end: number;
  total: number;
  /** From the foot of the bar to its top. */
  parts: { type: StateType; count: number }[];
}

/** What went well stands at the foot, what failed on top of it. */
const UPWARDS = [...STATE_TYPES].reverse();

export function bars(intervals: readonly HistoryInterval[]): Bar[] {
  return intervals.map(({ interval_start, interval_end, states }) => {
    const counts = new Map<StateType, number>();
    for (const { state_type, count_runs } of states) counts.set(state_type, (counts.get(state_type) ?? 0) + count_runs);
    const parts = UPWARDS.flatMap((type) => {
      const count = counts.get(type) ?? 0;
      return count > 0 ? [{ type, count }] : [];
    });
    const total = parts.reduce((sum, { count }) => sum + count, 0);
    return { begin: Date.parse(interval_start), end: Date.parse(interval_end), total, parts };
  });
}

/** `3 runs · 2 completed · 1 failed`. */
export function told(bar: Bar): string {
  const parts = bar.parts.map(({ type, count }) => `${count.toLocaleString('en')} ${stateWord(type).toLowerCase()}`);
  return [plural(bar.total, 'run'), ...parts].join(' · ');
}

/** The end of the axis: the next round number that is not below. */
export function roundUp(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  const factor = [1, 2, 3, 4, 5, 6, 8, 10].find((each) => each * power >= value) ?? 10;
  return factor * power;
}
