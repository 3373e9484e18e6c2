// Runs and flows that the palette finds, by asking the server.
import { api, told } from '../api/client';
import type { Flow, FlowRun } from '../api/types';

export interface Found {
  flowRuns: FlowRun[];
  flows: Flow[];
}

export const NOTHING: Found = { flowRuns: [], flows: [] };

const MOST = 8;
const ID = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i;

/** Runs and flows whose names hold the words, or the run of this id. */
export async function find(words: string): Promise<Found> {
  const text = words.trim();
  if (!text) return NOTHING;
  const byName = { name: { like_: text } };
  const [flowRuns, flows] = await Promise.all([
    told(
      api.POST('/api/flow_runs/filter', {
        body: { flow_runs: ID.test(text) ? { id: { any_: [text] } } : byName, sort: 'START_TIME_DESC', limit: MOST, offset: 0 },
      }),
    ),
    told(api.POST('/api/flows/filter', { body: { flows: byName, sort: 'NAME_ASC', limit: MOST, offset: 0 } })),
  ]);
  return { flowRuns: flowRuns as FlowRun[], flows: flows as Flow[] };
}
