// The time axis. Long times in which the flow run did nothing (between two attempts, while it was paused) are drawn short.
import { GOING_ON } from '../api/types';
import type { FlowState } from './model';

export interface Gap {
  from: number;
  to: number;
  /** How long it is drawn. */
  drawn: number;
}

export interface Tick {
  at: number;
  text: string;
}

// A gap longer than that part of the time in which something was done is drawn as long as that.
const LONGEST_GAP = 0.08;

export class Axis {
  constructor(readonly gaps: readonly Gap[] = []) {}

  /** Where on the axis a time is drawn; both in milliseconds. */
  drawn(time: number): number {
    let saved = 0;
    for (const gap of this.gaps) {
      if (time <= gap.from) break;
      const length = gap.to - gap.from;
      if (time < gap.to) return gap.from - saved + ((time - gap.from) / length) * gap.drawn;
      saved += length - gap.drawn;
    }
    return time - saved;
  }

  /** The time that is drawn there. */
  time(drawn: number): number {
    let saved = 0;
    for (const gap of this.gaps) {
      const from = gap.from - saved;
      if (drawn <= from) break;
      const length = gap.to - gap.from;
      if (drawn < from + gap.drawn) return gap.from + ((drawn - from) / gap.drawn) * length;
      saved += length - gap.drawn;
    }
    return drawn + saved;
  }

  /** Round times between two times, none within a gap. */
  ticks(from: number, to: number, pixelsPerMillisecond: number, apart = 90): Tick[] {
    const step = niceStep(apart / pixelsPerMillisecond);
    const ticks: Tick[] = [];
    let begin = from;
    for (const gap of [...this.gaps, { from: Infinity, to: Infinity }]) {
      const end = Math.min(to, gap.from);
      for (let n = Math.ceil(begin / step - 1e-9) || 0; n * step <= end; n++)
        ticks.push({ at: n * step, text: tickText(n * step, step) });
      begin = Math.max(begin, gap.to);
      if (begin > to) break;
    }
    return ticks;
  }
}

/** The gaps of a flow run: what lies between two times of running, if it is long. */
export function gapsOf(states: readonly FlowState[], end: number): Gap[] {
  const idle: { from: number; to: number }[] = [];
  let from: number | null = 0;
  for (const state of states) {
    if (GOING_ON.has(state.type)) {
      if (from !== null && state.at > from) idle.push({ from, to: state.at });
      from = null;
    } else from ??= state.at;
  }
  const last = states.at(-1);
  const until = last && GOING_ON.has(last.type) ? end : (from ?? end);
  const busy = until - idle.reduce((sum, gap) => sum + gap.to - gap.from, 0);
  const longest = Math.max(1, busy * LONGEST_GAP);
  return idle.filter((gap) => gap.to - gap.from > longest).map((gap) => ({ ...gap, drawn: longest }));
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS = [
  ...[1, 2, 5, 10, 15, 30].map((n) => n * SECOND),
  ...[1, 2, 5, 10, 15, 30].map((n) => n * MINUTE),
  ...[1, 2, 3, 6, 12].map((n) => n * HOUR),
  ...[1, 2, 7, 14, 30, 90, 365].map((n) => n * DAY),
];

/** The least round length of time that is at least so long. */
export function niceStep(least: number): number {
  if (least > SECOND / 2) return STEPS.find((step) => step >= least) ?? (STEPS.at(-1) as number);
  const power = 10 ** Math.floor(Math.log10(least));
  return ([1, 2, 5, 10].find((n) => n * power >= least) ?? 10) * power;
}

/** A time since the beginning, as exact as the steps between ticks need. */
export function tickText(milliseconds: number, step: number): string {
  if (milliseconds < 0) return `−${tickText(-milliseconds, step)}`;
  if (milliseconds === 0) return '0';
  if (step < 1) return `${milliseconds.toFixed(Math.min(3, Math.ceil(-Math.log10(step))))} ms`;
  if (milliseconds < SECOND) return `${Math.round(milliseconds)} ms`;
  if (milliseconds < MINUTE || step < SECOND) {
    const digits = step >= SECOND ? 0 : Math.ceil(-Math.log10(step / SECOND) - 1e-9);
    if (milliseconds < MINUTE) return `${(milliseconds / SECOND).toFixed(digits)} s`;
    return `${Math.floor(milliseconds / MINUTE)} m ${((milliseconds % MINUTE) / SECOND).toFixed(digits)} s`;
  }
  const [unit, length, small, part] =
    milliseconds < HOUR ? ['m', MINUTE, 's', SECOND] : milliseconds < DAY ? ['h', HOUR, 'm', MINUTE] : ['d', DAY, 'h', HOUR];
  const whole = Math.floor(milliseconds / (length as number));
  const rest = Math.round((milliseconds % (length as number)) / (part as number));
  return rest === 0 ? `${whole} ${unit}` : `${whole} ${unit} ${String(rest).padStart(2, '0')} ${small}`;
}
