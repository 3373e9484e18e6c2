// What differs between two runs of a flow: parameters, tasks, lines of the log.
import type { StateType } from '../api/types';

/** A value of both sides, as JSON; undefined where a side has none. */
export interface Entry {
  key: string;
  left: string | undefined;
  right: string | undefined;
  same: boolean;
}

type Values = Record<string, unknown>;

function isObject(value: unknown): value is Values {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length > 0;
}

/** The values of both sides by their keys, those of objects by a path: `options.strict`. */
export function entries(left: Values, right: Values, before = ''): Entry[] {
  const keys = [...new Set([...Object.keys(left), ...Object.keys(right)])];
  return keys.flatMap((name) => {
    const key = before + name;
    const [one, other] = [left[name], right[name]];
    if (isObject(one) && isObject(other)) return entries(one, other, `${key}.`);
    const [leftText, rightText] = [ordered(one), ordered(other)];
    return [{ key, left: leftText, right: rightText, same: leftText === rightText }];
  });
}

/** JSON with the keys of objects in one order, so that it can be compared. */
function ordered(value: unknown): string | undefined {
  return JSON.stringify(value, (_, inner: unknown) =>
    isObject(inner) ? Object.fromEntries(Object.entries(inner).sort(([one], [other]) => (one < other ? -1 : 1))) : inner,
  );
}

/** What is needed of a task of `/timeline`. */
export interface Task {
  task_key: string;
  name: string;
  total: number;
  counts: Partial<Record<StateType, number>>;
  first_start_ms: number | null;
  last_end_ms: number | null;
}

export interface Side {
  total: number;
  /** The worst state that one of its runs is in. */
  state: StateType;
  /** From the first begin to the last end; null while it has not ended. */
  seconds: number | null;
}

export interface TaskRow {
  key: string;
  name: string;
  left: Side | null;
  right: Side | null;
}

const WORST_FIRST: readonly StateType[] = [
  'FAILED',
  'CRASHED',
  'CANCELLED',
  'CANCELLING',
  'PAUSED',
  'RUNNING',
  'PENDING',
  'SCHEDULED',
  'COMPLETED',
];

function side(task: Task): Side {
  const { first_start_ms: first, last_end_ms: last } = task;
  return {
    total: task.total,
    state: WORST_FIRST.find((type) => (task.counts[type] ?? 0) > 0) ?? 'PENDING',
    seconds: first === null || last === null ? null : Math.max(0, last - first) / 1000,
  };
}

/** The tasks of both, in the order of the left; those that only the right has come after. */
export function taskRows(left: readonly Task[], right: readonly Task[]): TaskRow[] {
  const others = new Map(right.map((task) => [task.task_key, task]));
  const rows = left.map((task): TaskRow => {
    const other = others.get(task.task_key);
    others.delete(task.task_key);
    return { key: task.task_key, name: task.name, left: side(task), right: other ? side(other) : null };
  });
  const added = [...others.values()].map((task) => ({ key: task.task_key, name: task.name, left: null, right: side(task) }));
  return [...rows, ...added];
}

/** By how much the right took longer, in words: `+32 %`, `3.1 ×`, or nothing where it is about the same. */
export function change(left: number | null, right: number | null): string {
  if (left === null || right === null || Math.max(left, right) < 0.001) return '';
  if (left === 0) return '';
  const ratio = right / left;
  if (Math.abs(ratio - 1) < 0.05) return '≈';
  if (ratio >= 2) return `${ratio >= 10 ? Math.round(ratio).toLocaleString('en') : ratio.toFixed(1)} ×`;
  const percent = Math.round((ratio - 1) * 100);
  return `${percent > 0 ? '+' : '−'}${Math.abs(percent)} %`;
}
