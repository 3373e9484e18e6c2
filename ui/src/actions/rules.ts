// Which actions a flow run allows, in which state, and to whom.
import type { StateType } from '../api/types';
import { ENDED } from '../api/types';
import type { Role } from '../app/session.svelte';

export const ACTION_NAMES = ['cancel', 'retry', 'resume', 'rerun', 'set-state', 'delete'] as const;
export type ActionName = (typeof ACTION_NAMES)[number];

/** What is needed of a flow run to act on it. */
export interface Actionable {
  id: string;
  name: string;
  state_type: StateType | null;
  state_name: string | null;
  parent_flow_run_id: string | null;
}

export const ACTION_WORDS: Record<ActionName, string> = {
  cancel: 'Cancel',
  retry: 'Retry',
  resume: 'Resume',
  rerun: 'Run again with other parameters',
  'set-state': 'Set the state',
  delete: 'Delete',
};

/** Of these several runs may be chosen at once. */
export const FOR_MANY: readonly ActionName[] = ['cancel', 'retry', 'delete'];

const STOPPED: ReadonlySet<StateType> = new Set(['FAILED', 'CRASHED', 'CANCELLED']);

const ALLOWED: Record<ActionName, (run: Actionable) => boolean> = {
  cancel: ({ state_type: type }) => type !== null && !ENDED.has(type) && type !== 'CANCELLING',
  // A subflow run is executed again with its parent. One that already awaits its next attempt tells its command once more.
  retry: ({ state_type: type, state_name: name, parent_flow_run_id: parent }) =>
    parent === null && type !== null && (STOPPED.has(type) || name === 'AwaitingRetry'),
  resume: ({ state_type: type }) => type === 'PAUSED',
  rerun: () => true,
  'set-state': () => true,
  delete: () => true,
};

/** The actions that a flow run allows, in the order in which they are offered. */
export function availableActions(run: Actionable, role: Role | null): ActionName[] {
  if (role === null || role === 'viewer') return [];
  return ACTION_NAMES.filter((name) => ALLOWED[name](run));
}

/** Those of the runs that allow an action. */
export function allowing<T extends Actionable>(name: ActionName, runs: readonly T[]): T[] {
  return runs.filter(ALLOWED[name]);
}

/** Whether a run can be executed again from one of its task runs on: nobody works on it, and it is not paused. */
export function mayRetryFrom(run: Actionable, role: Role | null): boolean {
  return role !== null && role !== 'viewer' && run.state_type !== null && ENDED.has(run.state_type);
}
