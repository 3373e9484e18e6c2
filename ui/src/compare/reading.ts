// What is read of two runs to compare them.
import { api, told } from '../api/client';
import type { Lines, Timeline } from '../api/schema';
import type { FlowRun } from '../api/types';

/** So many runs of the flow are offered. */
const OFFERED = 50;
/** So many lines of each log are compared. */
export const MOST_LINES = 5000;

export interface Chosen {
  left: FlowRun | null;
  right: FlowRun | null;
  /** The runs of the flow to choose from, the newest first. */
  offered: FlowRun[];
}

export interface Recorded {
  timeline: Timeline;
  lines: Lines;
}

async function readRun(id: string): Promise<FlowRun> {
  return (await told(api.GET('/api/flow_runs/{flow_run_id}', { params: { path: { flow_run_id: id } } }))) as FlowRun;
}

/** The last runs that have begun, of one flow or of all. */
async function begun(flowId: string | null, limit: number): Promise<FlowRun[]> {
  const body = {
    flow_runs: { start_time: { is_null_: false } },
    ...(flowId && { flows: { id: { any_: [flowId] } } }),
    sort: 'START_TIME_DESC' as const,
    limit,
  };
  return (await told(api.POST('/api/flow_runs/filter', { body }))) as FlowRun[];
}

/** The runs that are asked for; where one is not, the latest of the flow on the right, and the one before it on the left. */
export async function readChosen(leftId: string | null, rightId: string | null): Promise<Chosen> {
  const [left, right] = await Promise.all([leftId ? readRun(leftId) : null, rightId ? readRun(rightId) : null]);
  const flowId = (right ?? left)?.flow_id ?? (await begun(null, 1))[0]?.flow_id ?? null;
  if (flowId === null) return { left, right, offered: [] };
  const offered = await begun(flowId, OFFERED);
  const onRight = right ?? offered.find((run) => run.id !== left?.id) ?? null;
  const place = offered.findIndex((run) => run.id === onRight?.id);
  const onLeft = left ?? offered[place + 1] ?? offered.find((run) => run.id !== onRight?.id) ?? null;
  for (const run of [onLeft, onRight]) if (run && !offered.some(({ id }) => id === run.id)) offered.push(run);
  return { left: onLeft, right: onRight, offered };
}

export async function readRecorded(id: string): Promise<Recorded> {
  const path = { flow_run_id: id };
  const [timeline, lines] = await Promise.all([
    told(api.GET('/api/ui/flow_runs/{flow_run_id}/timeline', { params: { path } })),
    told(api.GET('/api/ui/flow_runs/{flow_run_id}/lines', { params: { path, query: { limit: MOST_LINES } } })),
  ]);
  return { timeline, lines };
}
