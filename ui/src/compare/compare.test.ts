import { describe, expect, it } from 'vitest';
import { change, entries, taskRows, type Task } from './difference';
import { logDifference, steady, taskName, type Columns } from './loglines';

describe('entries', () => {
  it('finds what is different, and what only one side has', () =>
    expect(entries({ a: 1, b: [1, 2] }, { b: [1, 3], c: null })).toEqual([
      { key: 'a', left: '1', right: undefined, same: false },
      { key: 'b', left: '[1,2]', right: '[1,3]', same: false },
      { key: 'c', left: undefined, right: 'null', same: false },
    ]));
  it('goes into objects, and does not mind the order of keys', () =>
    expect(entries({ o: { x: 1, y: [{ p: 1, q: 2 }] } }, { o: { y: [{ q: 2, p: 1 }], x: 2 } })).toEqual([
      { key: 'o.x', left: '1', right: '2', same: false },
      { key: 'o.y', left: '[{"p":1,"q":2}]', right: '[{"p":1,"q":2}]', same: true },
    ]));
  it('takes an empty object for a value', () =>
    expect(entries({ o: {} }, { o: { x: 1 } })).toEqual([{ key: 'o', left: '{}', right: '{"x":1}', same: false }]));
});

const task = (task_key: string, changes: Partial<Task> = {}): Task => ({
  task_key,
  name: task_key,
  total: 1,
  counts: { COMPLETED: 1 },
  first_start_ms: 1000,
  last_end_ms: 3500,
  ...changes,
});

it('sets tasks side by side', () => {
  const failed = task('b', { total: 3, counts: { COMPLETED: 2, FAILED: 1 }, last_end_ms: null });
  expect(taskRows([task('a'), task('b')], [task('c'), failed])).toEqual([
    { key: 'a', name: 'a', left: { total: 1, state: 'COMPLETED', seconds: 2.5 }, right: null },
    {
      key: 'b',
      name: 'b',
      left: { total: 1, state: 'COMPLETED', seconds: 2.5 },
      right: { total: 3, state: 'FAILED', seconds: null },
    },
    { key: 'c', name: 'c', left: null, right: { total: 1, state: 'COMPLETED', seconds: 2.5 } },
  ]);
});

it.each([
  [1, 1.3, '+30 %'],
  [2, 1, '−50 %'],
  [1, 3.14, '3.1 ×'],
  [0.01, 12, '1,200 ×'],
  [1, 1.01, '≈'],
  [0, 1, ''],
  [null, 1, ''],
  [0.0001, 0.0009, ''],
])('from %d to %d s', (left, right, text) => expect(change(left, right)).toBe(text));

describe('logs', () => {
  it.each([
    ['Finished at 2026-11-23T01:31:57.963Z', 'Finished at <time>'],
    ['took 12.5 ms and 3 seconds', 'took <duration> and <duration>'],
    ["Created task run 'fetch-b4598a4a-4'", "Created task run 'fetch'"],
    ['brave-owl began', '<run> began'],
    ['loaded 900 rows', 'loaded 900 rows'],
    ['<object at 0x7f12ab>', '<object at <address>>'],
  ])('%s', (message, kept) => expect(steady(message, 'brave-owl')).toBe(kept));

  it('names tasks', () =>
    expect(['fetch-b4598a4a-4', 'fetch-3f1', 'my-task-0'].map(taskName)).toEqual(['fetch', 'fetch', 'my-task']));

  const log = (...messages: string[]): Columns => ({
    seq: messages.map((_, n) => n + 1),
    level: messages.map(() => 20),
    message: messages,
    task_run: messages.map(() => 0),
    task_runs: [{ id: 't', name: 'load-3f1' }],
  });

  it('finds the lines that one side has, or has more often', () => {
    const found = logDifference(log('a', 'b', 'b', 'at 01:02:03'), log('at 04:05:06', 'b', 'c'), { left: 'l', right: 'r' });
    expect(found.left.map(({ seq, message, task: name }) => [seq, message, name])).toEqual([
      [1, 'a', 'load'],
      [3, 'b', 'load'],
    ]);
    expect(found.right.map(({ message }) => message)).toEqual(['c']);
    expect(found.same).toBe(2);
  });
});
