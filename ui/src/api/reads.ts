// What our own pages ask beside the field's API.
import { api, told } from './client';
import type * as schema from './schema';
import type { StateType } from './types';

type Counts = Partial<Record<StateType, number>>;

export type Failure = schema.Failure;
export type Attempt = Omit<schema.Attempt, 'counts'> & { counts: Counts };
export type Ancestor = schema.Ancestor;
export type LinesPage = schema.Lines;
export type Why = schema.WhyCached;

const ofRun = (id: string) => ({ path: { flow_run_id: id } });

/** The exception that made a run fail, and where it came from. */
export function failureOf(id: string): Promise<Failure | null> {
  return told<Failure | null>(api.GET('/api/ui/flow_runs/{flow_run_id}/failure', { params: ofRun(id) }));
}

export async function attemptsOf(id: string): Promise<Attempt[]> {
  return (await told(api.GET('/api/ui/flow_runs/{flow_run_id}/attempts', { params: ofRun(id) }))) as Attempt[];
}

/** The runs around a run, from the outermost to its parent. */
export function ancestorsOf(id: string): Promise<Ancestor[]> {
  return told(api.GET('/api/ui/flow_runs/{flow_run_id}/ancestors', { params: ofRun(id) }));
}

/** Why the cache was hit or missed. */
export function whyOf(taskRunId: string): Promise<Why> {
  return told(api.GET('/api/ui/task_runs/{task_run_id}/why', { params: { path: { task_run_id: taskRunId } } }));
}

/** The first lines of a log after a number, or the last ones before one. */
export function linesOf(
  id: string,
  query: { after?: number; before?: number; limit?: number; include_subflows?: boolean },
): Promise<LinesPage> {
  return told(api.GET('/api/ui/flow_runs/{flow_run_id}/lines', { params: { ...ofRun(id), query } }));
}

/** How many task runs are in each state. */
export async function taskRunCounts(id: string): Promise<Counts> {
  const counts = await told(api.POST('/api/ui/flow_runs/task_run_counts', { body: { flow_run_ids: [id] } }));
  return (counts as Record<string, Counts>)[id] ?? {};
}
