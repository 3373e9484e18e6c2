// Which flow runs are listed: what the address says, what the server is asked, and which runs that are told live belong to it.
import { STATE_TYPES, type FlowRun, type FlowRunFilter, type FlowRunSort, type StateType } from '../api/types';

export interface RunsQuery {
  states: readonly StateType[];
  names: readonly string[];
  flow: string | null;
  tag: string | null;
  /** A part of a run's or a flow's name, or a run's id. */
  text: string | null;
  /** ISO 8601, or so long before now: `90s`, `15m`, `24h`, `7d`. */
  since: string | null;
  until: string | null;
  subflows: boolean;
  sort: Sort;
}

export const SORTS = {
  START_TIME_DESC: 'Newest first',
  START_TIME_ASC: 'Oldest first',
  END_TIME_DESC: 'Last ended first',
  NAME_ASC: 'By name, A to Z',
  NAME_DESC: 'By name, Z to A',
  NEXT_SCHEDULED_START_TIME_ASC: 'Next to start first',
} as const satisfies Partial<Record<FlowRunSort, string>>;
export type Sort = keyof typeof SORTS;

/** The parameters of the address that leave runs out. */
export const NARROWING = ['state', 'name', 'flow', 'tag', 'q', 'since', 'until'] as const;
/** Those that say which runs are listed. */
export const PARAMETERS = [...NARROWING, 'subflows', 'sort'] as const;

const ID = /^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$/i;
const AGO = /^(\d+)([smhd])$/;
const UNITS: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

export function queryFrom(address: URLSearchParams): RunsQuery {
  const sort = address.get('sort') ?? '';
  return {
    states: list(address.get('state')).filter((type): type is StateType => (STATE_TYPES as readonly string[]).includes(type)),
    names: list(address.get('name')),
    flow: address.get('flow') || null,
    tag: address.get('tag') || null,
    text: address.get('q')?.trim() || null,
    since: known(address.get('since')),
    until: known(address.get('until')),
    subflows: address.get('subflows') === '1',
    sort: sort in SORTS ? (sort as Sort) : 'START_TIME_DESC',
  };
}

/** Whether anything is left out. */
export function isNarrowed(query: RunsQuery): boolean {
  const { states, names, flow, tag, text, since, until } = query;
  return states.length + names.length > 0 || [flow, tag, text, since, until].some((each) => each !== null);
}

function list(text: string | null): string[] {
  return (text ?? '').split(',').filter(Boolean);
}

function known(time: string | null): string | null {
  return time !== null && momentOf(time, 0) !== null ? time : null;
}

/** The moment that a time of the address means, in milliseconds; null if it means none. */
export function momentOf(time: string, now: number): number | null {
  const [, count, unit] = AGO.exec(time) ?? [];
  if (count !== undefined && unit !== undefined) return now - Number(count) * (UNITS[unit] ?? 0);
  const moment = Date.parse(time);
  return Number.isNaN(moment) ? null : moment;
}

export interface Criteria {
  flow_runs: FlowRunFilter;
  flows?: { name: { any_: string[] } };
}

/** What the server is asked for. */
export function criteriaOf(query: RunsQuery, now: number): Criteria {
  const filter: FlowRunFilter = {};
  const { states, names, flow, tag, text, since, until } = query;
  if (!query.subflows) filter.parent_task_run_id = { is_null_: true };
  if (states.length + names.length > 0) {
    filter.state = {
      // Alone, each is found in an index; joined with nothing by "or" it is not.
      ...(states.length > 0 && names.length > 0 && { operator: 'or_' as const }),
      ...(states.length > 0 && { type: { any_: [...states] } }),
      ...(names.length > 0 && { name: { any_: [...names] } }),
    };
  }
  if (tag !== null) filter.tags = { all_: [tag] };
  if (text !== null) {
    if (ID.test(text)) filter.id = { any_: [text] };
    else filter.any_name = { like_: text };
  }
  if (since !== null || until !== null) {
    filter.began = {
      ...(since !== null && { after_: iso(since, now) }),
      ...(until !== null && { before_: iso(until, now) }),
    };
  }
  return { flow_runs: filter, ...(flow !== null && { flows: { name: { any_: [flow] } } }) };
}

function iso(time: string, now: number): string {
  return new Date(momentOf(time, now) ?? now).toISOString();
}

/** When a run began or, if it has not yet, when it is to; milliseconds. */
export function beganAt(run: FlowRun): number | null {
  const time = run.start_time ?? run.expected_start_time;
  return time === null ? null : Date.parse(time);
}

/** Whether a run that is told live is among those that are asked for. */
export function belongs(run: FlowRun, query: RunsQuery, now: number): boolean {
  const { states, names, flow, tag, text, since, until } = query;
  if (!query.subflows && run.parent_task_run_id !== null) return false;
  if (states.length + names.length > 0) {
    const ofType = run.state_type !== null && states.includes(run.state_type);
    if (!ofType && !(run.state_name !== null && names.includes(run.state_name))) return false;
  }
  if (flow !== null && run.flow_name !== flow) return false;
  if (tag !== null && !run.tags.includes(tag)) return false;
  if (text !== null && !says(run, text)) return false;
  const began = beganAt(run);
  if (since !== null && (began === null || began < (momentOf(since, now) ?? 0))) return false;
  return until === null || (began !== null && began <= (momentOf(until, now) ?? Infinity));
}

function says(run: FlowRun, text: string): boolean {
  if (ID.test(text)) return run.id.replaceAll('-', '') === text.replaceAll('-', '').toLowerCase();
  const wanted = text.toLowerCase();
  return [run.name, run.flow_name].some((name) => name?.toLowerCase().includes(wanted));
}

type Order = (one: FlowRun, other: FlowRun) => number;

const byId: Order = (one, other) => (one.id < other.id ? -1 : one.id > other.id ? 1 : 0);
const began: Order = (one, other) => (beganAt(one) ?? Infinity) - (beganAt(other) ?? Infinity);
const ended: Order = (one, other) => time(one.end_time, -Infinity) - time(other.end_time, -Infinity);
const next: Order = (one, other) => startsNext(one) - startsNext(other);

function time(text: string | null, none: number): number {
  return text === null ? none : Date.parse(text);
}

function startsNext(run: FlowRun): number {
  return run.state_type === 'SCHEDULED' ? time(run.expected_start_time, Number.MAX_VALUE) : Number.MAX_VALUE;
}

function byName(one: FlowRun, other: FlowRun): number {
  return one.name < other.name ? -1 : one.name > other.name ? 1 : 0;
}

/** The order of the list, as the server has it. */
export function orderOf(sort: Sort): Order {
  switch (sort) {
    case 'START_TIME_ASC':
      return (one, other) => began(one, other) || byId(one, other);
    case 'END_TIME_DESC':
      return (one, other) => sign(ended(other, one)) || byId(other, one);
    case 'NAME_ASC':
      return (one, other) => byName(one, other) || byId(one, other);
    case 'NAME_DESC':
      return (one, other) => byName(other, one) || byId(one, other);
    case 'NEXT_SCHEDULED_START_TIME_ASC':
      return (one, other) => next(one, other) || byId(other, one);
    default:
      return (one, other) => began(other, one) || byId(other, one);
  }
}

// Two that have not ended: Infinity minus Infinity is no number.
function sign(difference: number): number {
  return Number.isNaN(difference) ? 0 : difference;
}
