// What our own pages ask beside the field's API; each answer is described in docs/rest.md.
import { api, told } from './client';
import type { StateType } from './types';

type Counts = Partial<Record<StateType, number>>;

export interface Failure {
  type: string;
  message: string;
  traceback: string;
  task_run_id: string | null;
  task_run_name: string | null;
  flow_run_id: string;
}

export interface Attempt {
  attempt: number;
  type: StateType;
  name: string;
  message: string | null;
  began_ms: number;
  ended_ms: number | null;
  executed: number;
  reused: number;
  counts: Counts;
}

export interface Ancestor {
  id: string;
  name: string;
  flow_name: string | null;
}

export interface LinesPage {
  seq: number[];
  level: number[];
  at_ms: number[];
  message: string[];
  task_run: (number | null)[];
  task_runs: { id: string; name: string | null }[];
  more: boolean;
  total: number;
}

export interface Why {
  hit: boolean;
  cache_key: string | null;
  reason: string;
  found_in: { task_run_id: string; name: string; flow_run_id: string | null } | null;
  /** What the key was made of, and whether that differs in the run whose key comes closest. */
  parts: { name: string; fingerprint: string; differs: boolean | null }[];
}

async function read<T>(path: string, query: Record<string, string | number | boolean> = {}): Promise<T> {
  return (await told(api.GET(path as never, { params: { query } } as never))) as T;
}

export const failureOf = (id: string): Promise<Failure | null> => read(`/api/ui/flow_runs/${id}/failure`);
export const attemptsOf = (id: string): Promise<Attempt[]> => read(`/api/ui/flow_runs/${id}/attempts`);
export const ancestorsOf = (id: string): Promise<Ancestor[]> => read(`/api/ui/flow_runs/${id}/ancestors`);
export const whyOf = (taskRunId: string): Promise<Why> => read(`/api/ui/task_runs/${taskRunId}/why`);
export const linesOf = (
  id: string,
  query: { after?: number; before?: number; limit?: number; include_subflows?: boolean },
): Promise<LinesPage> => read(`/api/ui/flow_runs/${id}/lines`, query);

/** How many task runs are in each state. */
export async function taskRunCounts(id: string): Promise<Counts> {
  const counts = await told(api.POST('/api/ui/flow_runs/task_run_counts', { body: { flow_run_ids: [id] } }));
  return (counts as Record<string, Counts>)[id] ?? {};
}
