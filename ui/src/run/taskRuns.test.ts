import { expect, it } from 'vitest';
import type { TaskRun } from '../api/types';
import { filterOf, growsAtEnd, listed, outdated, updated } from './taskRuns';

const run = (id: string, at: string, child: string | null = null) =>
  ({ id, updated: at, state: { state_details: { child_flow_run_id: child } } }) as unknown as TaskRun;

it('reads the address, and forgives it', () => {
  expect(listed(new URLSearchParams('task_state=FAILED,NONSENSE&q=load&sort=UPWARDS&offset=-3'))).toEqual({
    states: ['FAILED'],
    text: 'load',
    sort: 'EXPECTED_START_TIME_ASC',
    offset: 0,
  });
});

it('asks for what is chosen only', () => {
  const filter = filterOf('run', { states: ['FAILED'], text: '', sort: 'NAME_ASC', offset: 0 });
  expect(filter.state).toEqual({ type: { any_: ['FAILED'] } });
  expect(filter).not.toHaveProperty('name');
});

it('updates the rows that are there, and tells of others', () => {
  const { rows, others } = updated([run('a', '2'), run('b', '2')], [run('a', '3'), run('b', '1')]);
  expect(rows.map(({ updated: at }) => at)).toEqual(['3', '2']);
  expect(others).toBe(false);
  expect(updated([], [run('c', '1')]).others).toBe(true);
});

it('does not count what stands for a subflow run', () => expect(updated([], [run('c', '1', 'child')]).others).toBe(false));

it('knows when rows would move', () => {
  const all = listed(new URLSearchParams());
  const failed = listed(new URLSearchParams('task_state=FAILED'));
  expect([growsAtEnd(all), growsAtEnd(failed), growsAtEnd({ ...all, sort: 'NAME_ASC' })]).toEqual([true, false, false]);
  const rows = [{ state_type: 'FAILED' }, { state_type: 'RUNNING' }] as TaskRun[];
  expect([outdated(rows, all), outdated(rows, failed), outdated(rows.slice(0, 1), failed)]).toEqual([false, true, false]);
});
