import { describe, expect, it } from 'vitest';
import type { FlowRun } from '../api/types';
import { RunList } from './list';
import { belongs, orderOf, queryFrom } from './query';

const query = queryFrom(new URLSearchParams('state=RUNNING,COMPLETED'));

function run(second: number, more: Partial<FlowRun> = {}): FlowRun {
  const at = new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString();
  return {
    id: `run-${second}`,
    name: `run-${second}`,
    state_type: 'RUNNING',
    state_name: 'Running',
    start_time: at,
    expected_start_time: at,
    updated: at,
    parent_task_run_id: null,
    tags: [],
    ...more,
  } as FlowRun;
}

function filled(more = false, most = 100): RunList {
  const list = new RunList({ belongs: (each) => belongs(each, query, 0), order: orderOf('START_TIME_DESC'), most });
  list.read([run(3), run(2), run(1)], more);
  return list;
}

function ids(list: RunList): string[] {
  return list.listed.runs.map(({ id }) => id);
}

describe('RunList', () => {
  it('puts new runs where they belong', () => {
    const list = filled();
    list.apply([run(4), run(0)], [], false);
    expect(ids(list)).toEqual(['run-4', 'run-3', 'run-2', 'run-1', 'run-0']);
  });

  it('moves nothing while it is pointed at', () => {
    const list = filled();
    list.apply([run(4), run(2, { state_type: 'FAILED' })], [], true);
    expect(ids(list)).toEqual(['run-3', 'run-2', 'run-1']);
    expect(list.listed.runs[1]?.state_type).toBe('FAILED');
    expect([...list.listed.waiting]).toEqual(['run-4']);
    list.settle();
    expect(ids(list)).toEqual(['run-4', 'run-3', 'run-1']);
    expect(list.listed.waiting.size).toBe(0);
  });

  it('leaves what comes later for later', () => {
    const list = filled(true);
    list.apply([run(0)], [], false);
    expect(ids(list)).toEqual(['run-3', 'run-2', 'run-1']);
    list.read([run(0)], false);
    expect(ids(list).at(-1)).toBe('run-0');
  });

  it('does not go back to what was before', () => {
    const list = filled();
    list.apply([run(3, { state_type: 'COMPLETED', updated: '2027-01-01T00:00:00Z' })], [], false);
    list.apply([run(3)], [], false);
    expect(list.listed.runs[0]?.state_type).toBe('COMPLETED');
  });

  it('drops what is deleted', () => {
    const list = filled();
    list.apply([], ['run-2'], true);
    expect(ids(list)).toEqual(['run-3', 'run-1']);
  });

  it('does not grow without end', () => {
    const list = filled(false, 4);
    list.apply([run(4), run(5)], [], false);
    expect(ids(list)).toEqual(['run-5', 'run-4', 'run-3', 'run-2']);
    expect(list.listed.more).toBe(true);
  });
});
