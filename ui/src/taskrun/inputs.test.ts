import { expect, it } from 'vitest';
import { inputsOf, taskRunIds } from './inputs';

const run = {
  task_inputs: {
    counts: [
      { input_type: 'task_run', id: 'a' },
      { input_type: 'task_run', id: 'b' },
    ],
    day: [{ input_type: 'parameter', name: 'day' }],
    again: [{ input_type: 'task_run', id: 'a' }],
    rows: [],
  },
} as never;

it('tells where each input came from', () => {
  const inputs = inputsOf(run);
  expect(inputs.map(({ name, sources }) => [name, sources.map(({ kind, text }) => `${kind} ${text}`)])).toEqual([
    ['counts', ['task run a', 'task run b']],
    ['day', ['value parameter day']],
    ['again', ['task run a']],
    ['rows', []],
  ]);
  expect(taskRunIds(inputs)).toEqual(['a', 'b']);
});
