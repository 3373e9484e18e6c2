// Where runs are in the strip: by when they began, and, by its logarithm, how long they took.
import type { FlowRun, StateType } from '../api/types';
import { beganAt } from './query';

/** A run as a mark of the strip. */
export interface Dot {
  id: string;
  type: StateType;
  /** When it began, in milliseconds. */
  at: number;
  seconds: number;
  /** It goes on since this moment, beside the seconds. */
  since: number | null;
}

/** The part of time and of durations that is shown, and the size of the picture in pixels. */
export interface View {
  from: number;
  to: number;
  shortest: number;
  longest: number;
  width: number;
  height: number;
}

export function dotOf(run: FlowRun): Dot {
  return {
    id: run.id,
    type: run.state_type ?? 'PENDING',
    at: beganAt(run) ?? Date.now(),
    ...(run.state_type === 'RUNNING' && run.state
      ? { seconds: run.total_run_time, since: Date.parse(run.state.timestamp) }
      : { seconds: run.estimated_run_time, since: null }),
  };
}

/** The same dots, as long as they have gone on by now. */
export function grown(dots: readonly Dot[], now: number): readonly Dot[] {
  return dots.map((dot) => (dot.since === null ? dot : { ...dot, seconds: dot.seconds + Math.max(0, now - dot.since) / 1000 }));
}

/** The newest of these and those, each run once. */
export function withDots(dots: readonly Dot[], changed: readonly Dot[], deleted: readonly string[], most: number): Dot[] {
  const known = new Map(dots.map((dot) => [dot.id, dot]));
  for (const dot of changed) known.set(dot.id, dot);
  for (const id of deleted) known.delete(id);
  const all = [...known.values()];
  return all.length > most ? all.sort((one, other) => other.at - one.at).slice(0, most) : all;
}

const SHORTEST = 0.001;

/** A view that shows all of them; a time that is asked for is its end. */
export function viewOf(dots: readonly Dot[], since: number | null, until: number | null, width: number, height: number): View {
  let [from, to, shortest, longest] = [Infinity, -Infinity, Infinity, -Infinity];
  for (const { at, seconds } of dots) {
    from = Math.min(from, at);
    to = Math.max(to, at);
    const shown = Math.max(seconds, SHORTEST);
    shortest = Math.min(shortest, shown);
    longest = Math.max(longest, shown);
  }
  // Few runs, or runs of one moment, are not blown up to nothing but noise.
  if (dots.length === 0) [from, to, shortest, longest] = [since ?? 0, until ?? 1, 1, 1];
  const space = Math.max((to - from) * 0.02, 500);
  return {
    from: since ?? from - space,
    to: until ?? to + space,
    shortest: shortest / 1.6,
    longest: Math.max(longest * 1.6, shortest * 10),
    width,
    height,
  };
}

export function x(view: View, at: number): number {
  return ((at - view.from) / Math.max(1, view.to - view.from)) * view.width;
}

export function timeAt(view: View, left: number): number {
  return view.from + (left / view.width) * (view.to - view.from);
}

export function y(view: View, seconds: number): number {
  const part = Math.log(Math.max(seconds, SHORTEST) / view.shortest) / Math.log(view.longest / view.shortest);
  return view.height * (1 - Math.min(1, Math.max(0, part)));
}

/** The run whose mark is nearest to a place, if it is within reach. */
export function nearest(dots: readonly Dot[], view: View, left: number, top: number, reach: number): Dot | null {
  let best: Dot | null = null;
  let least = reach * reach;
  for (const dot of dots) {
    const distance = (x(view, dot.at) - left) ** 2 + (y(view, dot.seconds) - top) ** 2;
    if (distance <= least) [best, least] = [dot, distance];
  }
  return best;
}

const LENGTHS = [0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 36_000, 86_400, 864_000];

/** Durations to be written beside the strip, at most four. */
export function durationTicks(view: View): number[] {
  const within = LENGTHS.filter((seconds) => seconds >= view.shortest && seconds <= view.longest);
  const step = Math.ceil(within.length / 4);
  return within.filter((_, n) => n % step === 0);
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS = [
  SECOND,
  5 * SECOND,
  15 * SECOND,
  MINUTE,
  5 * MINUTE,
  15 * MINUTE,
  HOUR,
  3 * HOUR,
  6 * HOUR,
  12 * HOUR,
  DAY,
  2 * DAY,
  7 * DAY,
  30 * DAY,
  90 * DAY,
  365 * DAY,
];

/** Round moments to be written below the strip, and how far they are apart. `offset` is that of the zone, in milliseconds. */
export function timeTicks(view: View, offset: number): { step: number; moments: number[] } {
  const most = Math.max(3, Math.floor(view.width / 110));
  const span = view.to - view.from;
  const step = STEPS.find((each) => span / each < most) ?? span;
  const first = Math.ceil((view.from + offset) / step) * step - offset;
  const moments: number[] = [];
  for (let moment = first; moment <= view.to; moment += step) moments.push(moment);
  return { step, moments };
}
