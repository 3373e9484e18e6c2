// The records of the API. The server always sends every field, which its description does not promise for those with defaults.
import type * as schema from './schema';

type Whole<T> = { [K in keyof T]-?: Exclude<T[K], undefined> };

export const STATE_TYPES = [
  'RUNNING',
  'FAILED',
  'CRASHED',
  'CANCELLING',
  'CANCELLED',
  'PAUSED',
  'PENDING',
  'SCHEDULED',
  'COMPLETED',
] as const;
export type StateType = (typeof STATE_TYPES)[number];

export interface State {
  id: string | null;
  type: StateType;
  name: string;
  message: string | null;
  timestamp: string;
  data: unknown;
  state_details: Record<string, unknown>;
}

export type FlowRun = Omit<Whole<schema.FlowRun>, 'state' | 'state_type'> & {
  state: State | null;
  state_type: StateType | null;
};
export type TaskRun = Omit<Whole<schema.TaskRun>, 'state' | 'state_type'> & {
  state: State | null;
  state_type: StateType | null;
};
export type Flow = Whole<schema.Flow>;
export type Log = Whole<schema.Log>;
export type FlowRunFilter = schema.FlowRunFilter;
export type FlowFilter = schema.FlowFilter;
export type TaskRunFilter = schema.TaskRunFilter;
export type FlowRunSort = schema.FlowRunSort;

export const ENDED: ReadonlySet<StateType> = new Set(['COMPLETED', 'FAILED', 'CRASHED', 'CANCELLED']);
export const GOING_ON: ReadonlySet<StateType> = new Set(['RUNNING', 'CANCELLING']);
