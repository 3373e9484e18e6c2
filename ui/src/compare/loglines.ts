// The lines that only one of two logs has. Tasks run at the same time, so that the order of lines says little: they are counted,
// by the task they come from, without what is different in every run.

/** Columns, as `/lines` tells them. */
export interface Columns {
  seq: readonly number[];
  level: readonly number[];
  message: readonly string[];
  task_run: readonly (number | null)[];
  task_runs: readonly { id: string; name: string | null }[];
}

export interface Line {
  seq: number;
  level: number;
  message: string;
  /** The task that said it; empty for the flow itself. */
  task: string;
}

const VARYING: readonly [RegExp, string][] = [
  [/\b[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}\b/gi, '<id>'],
  [/\b0x[0-9a-f]+\b/gi, '<address>'],
  [/\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d([.,]\d+)?)?(Z|[+-]\d\d:?\d\d)?/g, '<time>'],
  [/\b\d\d:\d\d:\d\d([.,]\d+)?/g, '<time>'],
  [/\b\d+(\.\d+)?(e-?\d+)? ?(µs|us|ms|s|sec|secs|seconds?|m|min|minutes?|h|hours?)\b/g, '<duration>'],
  // The name of a task run has a part that nobody chose.
  [/\b(\w+)-(?=[a-f]*\d)[0-9a-f]{3,8}(-\d+)?(?=\W|$)/g, '$1'],
];

/** A message without times, durations, ids, and the run's own name. */
export function steady(message: string, runName: string): string {
  const text = runName ? message.replaceAll(runName, '<run>') : message;
  return VARYING.reduce((kept, [pattern, instead]) => kept.replace(pattern, instead), text);
}

export function taskName(taskRunName: string): string {
  return taskRunName.replace(/-(?=[a-f]*\d)[0-9a-f]{3,8}(-\d+)?$/, '').replace(/-\d+$/, '');
}

function linesOf(columns: Columns): Line[] {
  const tasks = columns.task_runs.map(({ name }) => taskName(name ?? ''));
  return columns.seq.map((seq, n) => ({
    seq,
    level: columns.level[n] ?? 0,
    message: columns.message[n] ?? '',
    task: tasks[columns.task_run[n] ?? -1] ?? '',
  }));
}

/** The lines that only one side has, or has more often: then the last of them. */
export function logDifference(
  left: Columns,
  right: Columns,
  names: { left: string; right: string },
): { left: Line[]; right: Line[]; same: number } {
  const keyed = (columns: Columns, name: string): { line: Line; key: string }[] =>
    linesOf(columns).map((line) => ({ line, key: `${line.task}\n${line.level}\n${steady(line.message, name)}` }));
  const [one, other] = [keyed(left, names.left), keyed(right, names.right)];
  const onlyLeft = without(one, other);
  return { left: onlyLeft, right: without(other, one), same: one.length - onlyLeft.length };
}

function without(some: readonly { line: Line; key: string }[], others: readonly { key: string }[]): Line[] {
  const counts = new Map<string, number>();
  for (const { key } of others) counts.set(key, (counts.get(key) ?? 0) + 1);
  return some.flatMap(({ line, key }) => {
    const count = counts.get(key) ?? 0;
    counts.set(key, count - 1);
    return count > 0 ? [] : [line];
  });
}
