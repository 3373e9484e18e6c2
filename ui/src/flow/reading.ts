// What the page of a flow asks the server for.
import { api, told } from '../api/client';
import type { Grid } from '../api/schema';
import type { Flow, FlowRun } from '../api/types';
import { readActivity, type FlowActivity } from '../flows/activity';

const RUNS = 50;
const DOTS = 100;
const COLUMNS = 30;

export interface FlowRead {
  flow: Flow;
  activity: FlowActivity | null;
  /** The newest first. */
  runs: FlowRun[];
  grid: Grid;
}

export async function readFlow(id: string): Promise<FlowRead> {
  const path = { flow_id: id };
  const [flow, { flows }, runs, grid] = await Promise.all([
    told(api.GET('/api/flows/{flow_id}', { params: { path } })),
    readActivity({ flow_ids: [id], last: DOTS }),
    told(
      api.POST('/api/flow_runs/filter', {
        body: { flows: { id: { any_: [id] } }, sort: 'EXPECTED_START_TIME_DESC', limit: RUNS },
      }),
    ),
    told(api.GET('/api/ui/flows/{flow_id}/grid', { params: { path, query: { last: COLUMNS } } })),
  ]);
  return { flow: flow as Flow, activity: flows[0] ?? null, runs: runs as FlowRun[], grid };
}
