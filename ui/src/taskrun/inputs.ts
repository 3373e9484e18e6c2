// Where the inputs of a task run came from.
import type { TaskRun } from '../api/types';

export interface Source {
  kind: 'task run' | 'flow run' | 'value';
  /** Of the run. */
  id: string | null;
  text: string;
}

export interface Input {
  name: string;
  sources: Source[];
}

/** The inputs by their names; those that came from no run are plain values, which are not recorded. */
export function inputsOf(run: Pick<TaskRun, 'task_inputs'>): Input[] {
  return Object.entries(run.task_inputs).map(([name, sources]) => ({
    name,
    sources: (sources as unknown as Record<string, unknown>[]).map(source),
  }));
}

/** The ids of the task runs among them, each once. */
export function taskRunIds(inputs: readonly Input[]): string[] {
  const ids = inputs.flatMap(({ sources }) => sources.flatMap(({ kind, id }) => (kind === 'task run' && id ? [id] : [])));
  return [...new Set(ids)];
}

function source(told: Record<string, unknown>): Source {
  const { input_type: type, id, ...more } = told;
  const known = typeof id === 'string' ? id : null;
  if (type === 'task_run') return { kind: 'task run', id: known, text: known ?? '' };
  if (type === 'flow_run') return { kind: 'flow run', id: known, text: known ?? '' };
  return { kind: 'value', id: null, text: [type, ...Object.values(more)].map(String).join(' ').replaceAll('_', ' ') };
}
