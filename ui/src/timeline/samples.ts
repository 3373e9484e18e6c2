// Answers and events as the server gives them, for tests.
import type { Timeline } from '../api/schema';
import type { StateType, TaskRun } from '../api/types';

export interface Sample {
  name: string;
  start?: number;
  end?: number;
  state?: StateType;
  parents?: number[];
}

/** The answer for these task runs; the task is what stands before the dash in the name, which is also the id. */
export function answerOf(samples: readonly Sample[], states: Timeline['states'] = []): Timeline {
  const keys = [...new Set(samples.map(({ name }) => name.split('-')[0] ?? ''))];
  const common = { first_start_ms: null, last_end_ms: null, activity: null, counts: {}, total: 0 };
  return {
    total: samples.length,
    grouped: false,
    states,
    tasks: keys.map((key) => ({ ...common, task_key: key, name: key })),
    nodes: {
      id: samples.map(({ name }) => name),
      task: samples.map(({ name }) => keys.indexOf(name.split('-')[0] ?? '')),
      name: samples.map(({ name }) => name),
      state_type: samples.map(({ state }) => state ?? 'COMPLETED'),
      state_name: samples.map(({ state }) => state ?? 'Completed'),
      start_ms: samples.map(({ start }) => start ?? null),
      end_ms: samples.map(({ end }) => end ?? null),
      attempt: samples.map(() => 1),
      run_count: samples.map(({ start }) => (start === undefined ? 0 : 1)),
      child_flow_run_id: samples.map(() => null),
      parents: samples.map(({ parents }) => parents ?? []),
      callers: samples.map(() => []),
    },
  };
}

export function taskRun(changes: Partial<TaskRun>): TaskRun {
  const run: Partial<TaskRun> = {
    name: changes.id ?? '',
    task_key: 'load',
    flow_run_run_count: 1,
    run_count: 0,
    start_time: null,
    end_time: null,
    state_type: 'PENDING',
    state_name: 'Pending',
    task_inputs: {},
    ...changes,
  };
  return run as TaskRun;
}
