import { describe, expect, it } from 'vitest';
import type { TaskRun } from '../api/types';
import { CODES, Graph, createdAt, label, shortName } from './model';
import { answerOf, taskRun } from './samples';

const ORIGIN = 1_000_000;

function graphOf(...args: Parameters<typeof answerOf>): Graph {
  const graph = new Graph('flow-run', ORIGIN, 3);
  graph.read(answerOf(...args));
  return graph;
}

describe('what the server answers', () => {
  it('becomes columns with times since the origin', () => {
    const graph = graphOf([
      { name: 'load-0', start: ORIGIN + 5, end: ORIGIN + 9 },
      { name: 'save-0', start: ORIGIN + 10, parents: [0], state: 'RUNNING' },
    ]);
    expect([...graph.start.subarray(0, 2)]).toEqual([5, 10]);
    expect(graph.end[1]).toBeNaN();
    expect(graph.parents).toEqual([[], [0]]);
    expect(graph.tasks.map(({ name, total, firstStart }) => [name, total, firstStart])).toEqual([
      ['load', 1, 5],
      ['save', 1, 10],
    ]);
    expect(graph.tasks[1]?.counts[CODES.RUNNING]).toBe(1);
  });

  it('brings what is known up to date when it is read again', () => {
    const graph = graphOf([{ name: 'load-0', start: ORIGIN, state: 'RUNNING' }]);
    graph.read(
      answerOf([
        { name: 'load-0', start: ORIGIN, end: ORIGIN + 4 },
        { name: 'load-1', start: ORIGIN + 1 },
      ]),
    );
    expect([graph.count, graph.end[0]]).toEqual([2, 4]);
    expect([...(graph.tasks[0]?.counts ?? [])]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 2]);
  });

  it('keeps the numbers of tasks whose runs are not given', () => {
    const graph = new Graph('flow-run', ORIGIN, 3);
    const answer = answerOf([{ name: 'load-0', start: ORIGIN }]);
    const task = { ...answer.tasks[0], total: 50_000, counts: { COMPLETED: 49_999, FAILED: 1 } };
    graph.read({ ...answer, total: 50_000, grouped: true, tasks: [task as (typeof answer.tasks)[0]] });
    expect(graph.tasks[0]).toMatchObject({ total: 50_000, members: [0] });
    expect(graph.isGroup(graph.taskAt(0))).toBe(true);
  });
});

describe('events', () => {
  const run = (changes: Partial<TaskRun>): TaskRun => taskRun({ id: 'load-0', name: 'load-0', ...changes });

  it('add task runs, with what they were given', () => {
    const graph = graphOf([{ name: 'load-0', start: ORIGIN, end: ORIGIN + 1 }]);
    const change = graph.merge([
      taskRun({ id: 'save-0', task_key: 'save', task_inputs: { rows: [{ id: 'load-0' }], __parents__: [{ id: 'other' }] } }),
    ]);
    expect(change).toEqual({ moved: [1], structure: true, any: true });
    expect([graph.parents[1], graph.callers[1], graph.total]).toEqual([[0], [], 2]);
  });

  it('move only what begins at another time', () => {
    const graph = graphOf([{ name: 'load-0', state: 'PENDING' }]);
    const begun = run({ state_type: 'RUNNING', start_time: new Date(ORIGIN + 3).toISOString(), run_count: 1 });
    expect(graph.merge([begun])).toEqual({ moved: [0], structure: false, any: true });
    expect(graph.merge([{ ...begun, state_name: 'Still running' }])).toEqual({ moved: [], structure: false, any: true });
    expect(graph.start[0]).toBe(3);
  });

  it('that are older than what is known change nothing', () => {
    const graph = graphOf([{ name: 'load-0', start: ORIGIN, end: ORIGIN + 1 }]);
    expect(graph.merge([run({ state_type: 'RUNNING', run_count: 1, flow_run_run_count: 1 })]).any).toBe(false);
    expect(graph.merge([run({ state_type: 'RUNNING', run_count: 2, flow_run_run_count: 2 })]).any).toBe(true);
  });

  it('say when a task has become a group', () => {
    const graph = graphOf([
      { name: 'load-0', start: ORIGIN },
      { name: 'load-1', start: ORIGIN },
    ]);
    const change = graph.merge([taskRun({ id: 'load-2', name: 'load-2', task_key: 'load' })]);
    expect([change.structure, graph.isGroup(graph.taskAt(0))]).toEqual([true, true]);
  });

  it('keep the columns whole while these grow', () => {
    const graph = graphOf([]);
    graph.merge(Array.from({ length: 1000 }, (_, n) => taskRun({ id: `load-${n}`, task_key: 'load' })));
    expect([graph.count, graph.lane[999], graph.tasks[0]?.total]).toEqual([1000, -1, 1000]);
  });
});

it('reads when a record was made from its id', () => {
  expect(createdAt('01a20608-0253-7eb3-adb8-91203771690c')).toBe(0x01a206080253);
  expect(createdAt('11a20608-0253-4eb3-adb8-91203771690c')).toBeNaN();
});

it('shortens names', () => {
  expect([label('load-b4598a4a-3'), label('load b4'), shortName('orders.load')]).toEqual(['load-3', 'load b4', 'load']);
});
