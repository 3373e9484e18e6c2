// What the palette finds: pages and switches by their words, runs and flows by asking the server.
import { api, told } from '../api/client';
import type { Flow, FlowRun } from '../api/types';

export interface Entry {
  id: string;
  text: string;
  hint?: string;
  run: () => void;
}

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

/** Those entries of which every word occurs in what they say, in this order. */
export function matching(entries: readonly Entry[], words: string): Entry[] {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  return entries.filter(({ text, hint = '' }) => {
    const said = `${text} ${hint}`.toLowerCase();
    return wanted.every((word) => said.includes(word));
  });
}
