// Which task runs of a flow run are listed, and in which order, as the address says.
import { STATE_TYPES, type StateType, type TaskRun, type TaskRunFilter } from '../api/types';

export const SORTS = [
  'EXPECTED_START_TIME_ASC',
  'EXPECTED_START_TIME_DESC',
  'NAME_ASC',
  'NAME_DESC',
  'DURATION_DESC',
  'DURATION_ASC',
  'END_TIME_DESC',
] as const;
export type Sort = (typeof SORTS)[number];

export interface Listed {
  states: StateType[];
  text: string;
  sort: Sort;
  offset: number;
}

/** What the address asks for; what it cannot mean is as if it were not there. */
export function listed(query: URLSearchParams): Listed {
  const sort = SORTS.find((known) => known === query.get('sort'));
  const offset = Number(query.get('offset'));
  return {
    states: (query.get('task_state') ?? '')
      .split(',')
      .filter((type): type is StateType => STATE_TYPES.includes(type as StateType)),
    text: query.get('q') ?? '',
    sort: sort ?? 'EXPECTED_START_TIME_ASC',
    offset: Number.isSafeInteger(offset) && offset > 0 ? offset : 0,
  };
}

/** The filter for it; the task runs that stand for subflow runs are listed as those. */
export function filterOf(flowRunId: string, { states, text }: Listed): TaskRunFilter {
  return {
    flow_run_id: { any_: [flowRunId] },
    subflow_runs: { exists_: false },
    ...(states.length ? { state: { type: { any_: states } } } : {}),
    ...(text ? { name: { like_: text } } : {}),
  };
}

/** The rows with what has changed of them, and whether there were changes of other task runs. */
export function updated(rows: readonly TaskRun[], changed: readonly TaskRun[]): { rows: TaskRun[]; others: boolean } {
  const news = new Map(changed.map((run) => [run.id, run]));
  const merged = rows.map((row) => {
    const run = news.get(row.id);
    if (!run) return row;
    news.delete(row.id);
    return row.updated && run.updated && run.updated < row.updated ? row : run;
  });
  return { rows: merged, others: [...news.values()].some((run) => !run.state?.state_details['child_flow_run_id']) };
}

/** Whether new rows come after all others, so that nothing that is there moves. */
export function growsAtEnd({ states, sort }: Listed): boolean {
  return states.length === 0 && sort === 'EXPECTED_START_TIME_ASC';
}

/** Whether one of the rows has left the states that are asked for. */
export function outdated(rows: readonly TaskRun[], { states }: Listed): boolean {
  return states.length > 0 && rows.some((row) => row.state_type !== null && !states.includes(row.state_type));
}

/** Which order a click on a column's head asks for. */
export function turned(sort: Sort, [first, second]: readonly [Sort, Sort]): Sort {
  return sort === first ? second : first;
}
