// What flows have done lately, as the server sums it up.
import { api, told } from '../api/client';
import type * as schema from '../api/schema';
import type { ShownRun } from '../api/schema';
import type { StateType } from '../api/types';

export type LastRun = ShownRun;
export type FlowActivity = Omit<schema.FlowActivity, 'by_state'> & { by_state: Partial<Record<StateType, number>> };

export const SORTS = [
  { name: 'last_run', words: 'Last run' },
  { name: 'name', words: 'Name' },
  { name: 'slowest', words: 'Slowest' },
  { name: 'most_failed', words: 'Most failed' },
] as const;
export type Sort = (typeof SORTS)[number]['name'];

export function readActivity(body: schema.ActivityQuery): Promise<{ total: number; flows: FlowActivity[] }> {
  return told(api.POST('/api/ui/flows/activity', { body }));
}
