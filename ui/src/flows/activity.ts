// What flows have done lately, as the server sums it up.
import { api, told } from '../api/client';
import type { StateType } from '../api/types';

export interface LastRun {
  id: string;
  name: string;
  state_type: StateType;
  state_name: string;
  start_ms: number | null;
  seconds: number;
}

export interface FlowActivity {
  flow_id: string;
  name: string;
  tags: string[];
  runs: number;
  by_state: Partial<Record<StateType, number>>;
  /** Of those that ended; null if none did. */
  success_rate: number | null;
  mean_seconds: number | null;
  p95_seconds: number | null;
  /** The newest last. */
  last_runs: LastRun[];
}

export const SORTS = [
  { name: 'last_run', words: 'Last run' },
  { name: 'name', words: 'Name' },
  { name: 'slowest', words: 'Slowest' },
  { name: 'most_failed', words: 'Most failed' },
] as const;
export type Sort = (typeof SORTS)[number]['name'];

export interface Asked {
  flow_ids?: string[];
  name_like?: string;
  since?: string;
  last?: number;
  limit?: number;
  offset?: number;
  sort?: Sort;
}

export function readActivity(body: Asked): Promise<{ total: number; flows: FlowActivity[] }> {
  return told(api.POST('/api/ui/flows/activity', { body })) as Promise<{ total: number; flows: FlowActivity[] }>;
}
