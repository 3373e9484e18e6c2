// What actions ask of the server, and what came of it in words.
import { api, told } from '../api/client';
import type { FlowRun, StateType } from '../api/types';
import type { Actionable } from './rules';

/** A bulk request names at most so many runs. */
export const MOST_AT_ONCE = 50;

export interface NewState {
  type: StateType;
  name?: string | null;
  message?: string | null;
}

/** What was not done, and why. */
export interface Refusal {
  name: string;
  reason: string;
}

/** A run that waits for a process, and the line that executes it; else why there is none. */
export interface ToExecute {
  flow_run: FlowRun;
  command: string | null;
  reason: string | null;
}

interface Verdict {
  status: string;
  details: { reason?: string | null; delay_seconds?: number };
}

/** Why a state was not written; null if it was. */
export function refused(verdict: Verdict): string | null {
  if (verdict.status === 'ACCEPT') return null;
  if (verdict.status === 'WAIT') return `The server asks to wait ${verdict.details.delay_seconds ?? 'some'} seconds.`;
  return verdict.details.reason ?? 'The server did not allow it.';
}

export function chunks<T>(all: readonly T[], most: number): T[][] {
  return Array.from({ length: Math.ceil(all.length / most) }, (_, n) => all.slice(n * most, (n + 1) * most));
}

/** Asks for these runs to be in a state; tells which were refused. */
export async function setStates(runs: readonly Actionable[], state: NewState, force = false): Promise<Refusal[]> {
  const names = new Map(runs.map((run) => [run.id, run.name]));
  const refusals: Refusal[] = [];
  for (const some of chunks(runs, MOST_AT_ONCE)) {
    const ids = some.map((run) => run.id);
    const { results } = await told(
      api.POST('/api/flow_runs/bulk_set_state', {
        body: { flow_runs: { id: { any_: ids } }, limit: MOST_AT_ONCE, state, force },
      }),
    );
    for (const result of results) {
      const reason = refused(result);
      if (reason !== null) refusals.push({ name: names.get(result.flow_run_id) ?? result.flow_run_id, reason });
    }
  }
  return refusals;
}

/** Lets a run await its next attempt; from a task run on, if one is named. */
export async function retry(run: Actionable, fromTaskRunId: string | null, message: string | null): Promise<ToExecute> {
  // A subflow run is executed again with the outermost run that it belongs to.
  const id = fromTaskRunId === null ? run.id : await outermost(run);
  const answer = await told(
    api.POST('/api/flow_runs/{flow_run_id}/retry', {
      params: { path: { flow_run_id: id } },
      body: { from_task_run_id: fromTaskRunId, message },
    }),
  );
  return answer as ToExecute;
}

async function outermost(run: Actionable): Promise<string> {
  let { id, parent_flow_run_id: parent } = run;
  while (parent !== null) {
    const found = (await told(
      api.GET('/api/flow_runs/{flow_run_id}', { params: { path: { flow_run_id: parent } } }),
    )) as FlowRun;
    ({ id, parent_flow_run_id: parent } = found);
  }
  return id;
}

/** Makes another run like this one, with the parameters that are named changed. */
export async function rerun(id: string, parameters: Record<string, unknown>, name: string | null): Promise<ToExecute> {
  const answer = await told(
    api.POST('/api/flow_runs/{flow_run_id}/rerun', {
      params: { path: { flow_run_id: id } },
      body: { parameters, name },
    }),
  );
  return answer as ToExecute;
}

/** Lets a paused run go on, with what it waits for; tells its state then: SCHEDULED, if no process waited for that. */
export async function resume(id: string, input: Record<string, unknown> | null): Promise<StateType | null> {
  const verdict = await told(
    api.POST('/api/flow_runs/{flow_run_id}/resume', {
      params: { path: { flow_run_id: id } },
      body: { run_input: input },
    }),
  );
  const reason = refused(verdict as Verdict);
  if (reason !== null) throw new Error(reason);
  return (verdict.state?.type as StateType | undefined) ?? null;
}
