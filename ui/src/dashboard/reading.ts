// What the dashboard asks the server for. Subflow runs are left out, as in the list of runs: they belong to their parents.
import { api, told } from '../api/client';
import type { LoopHealth } from '../api/schema';
import type { FlowRun, FlowRunFilter, FlowRunSort, StateType } from '../api/types';
import { bars, spanOf, type Bar, type Range } from './activity';

const LINES = 8;

export interface Dashboard {
  bars: Bar[];
  running: FlowRun[];
  failed: FlowRun[];
  late: FlowRun[];
  next: FlowRun[];
  counts: { running: number; pending: number; paused: number; failed: number; late: number; scheduled: number };
  /** Of the running ones, by their ids. */
  taskRuns: Record<string, Partial<Record<StateType, number>>>;
  loops: LoopHealth[];
  /** Nothing has ever run here. */
  empty: boolean;
}

const TOP: FlowRunFilter = { parent_flow_run_id: { is_null_: true } };

function inState(...any_: StateType[]): FlowRunFilter {
  return { ...TOP, state: { type: { any_ } } };
}

function count(flow_runs: FlowRunFilter): Promise<number> {
  return told(api.POST('/api/flow_runs/count', { body: { flow_runs } }));
}

async function list(flow_runs: FlowRunFilter, sort: FlowRunSort): Promise<FlowRun[]> {
  return (await told(api.POST('/api/flow_runs/filter', { body: { flow_runs, sort, limit: LINES } }))) as FlowRun[];
}

async function readBars(range: Range, now: number): Promise<Bar[]> {
  const { begin, end } = spanOf(range, now, new Date(now).getTimezoneOffset());
  const body = {
    history_start: new Date(begin).toISOString(),
    history_end: new Date(end).toISOString(),
    history_interval_seconds: range.width / 1000,
    flow_runs: TOP,
  };
  return bars(await told(api.POST('/api/flow_runs/history', { body })));
}

/** The loops are the server's own affair: who may not see them, or cannot, still sees the rest. */
async function readLoops(): Promise<LoopHealth[]> {
  try {
    return (await told(api.GET('/api/admin/loops'))).loops;
  } catch {
    return [];
  }
}

export async function readDashboard(range: Range): Promise<Dashboard> {
  const now = Date.now();
  const since = new Date(now - range.milliseconds).toISOString();
  const failing = { ...inState('FAILED', 'CRASHED'), start_time: { after_: since } };
  const late: FlowRunFilter = { ...TOP, state: { name: { any_: ['Late'] } } };
  const waiting: FlowRunFilter = { ...TOP, state: { type: { any_: ['SCHEDULED'] }, name: { not_any_: ['Late'] } } };
  const [drawn, running, failed, lateRuns, next, loops, flows, ...counted] = await Promise.all([
    readBars(range, now),
    readRunning(),
    list(failing, 'START_TIME_DESC'),
    list(late, 'EXPECTED_START_TIME_ASC'),
    list(waiting, 'NEXT_SCHEDULED_START_TIME_ASC'),
    readLoops(),
    told(api.POST('/api/flows/count', { body: {} })),
    count(inState('RUNNING', 'CANCELLING')),
    count(inState('PENDING')),
    count(inState('PAUSED')),
    count(failing),
    count(late),
    count(waiting),
  ]);
  const [runningCount, pending, paused, failedCount, lateCount, scheduled] = counted;
  return {
    bars: drawn,
    running: running.runs,
    taskRuns: running.taskRuns,
    failed,
    late: lateRuns,
    next,
    loops,
    empty: flows === 0,
    counts: { running: runningCount, pending, paused, failed: failedCount, late: lateCount, scheduled },
  };
}

async function readRunning(): Promise<Pick<Dashboard, 'taskRuns'> & { runs: FlowRun[] }> {
  const runs = await list(inState('RUNNING', 'CANCELLING'), 'START_TIME_DESC');
  if (runs.length === 0) return { runs, taskRuns: {} };
  const body = { flow_run_ids: runs.map((run) => run.id) };
  const taskRuns = await told(api.POST('/api/ui/flow_runs/task_run_counts', { body }));
  return { runs, taskRuns: taskRuns as Dashboard['taskRuns'] };
}
