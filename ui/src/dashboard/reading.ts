// What the dashboard asks the server for. As in the list of runs, subflow runs are left out: they belong to their parents.
import { api, told } from '../api/client';
import type { LoopHealth } from '../api/schema';
import type { FlowRun, FlowRunSort, StateType } from '../api/types';
import { criteriaOf, queryFrom, type Criteria } from '../runs/query';
import { bars, spanOf, type Bar, type Range } from './activity';

const LINES = 8;

export interface Dashboard {
  bars: Bar[];
  running: FlowRun[];
  failed: FlowRun[];
  late: FlowRun[];
  next: FlowRun[];
  counts: Record<'running' | 'pending' | 'paused' | 'late' | 'scheduled' | 'failed' | 'completed', number>;
  /** Of the running ones, by their ids. */
  taskRuns: Record<string, Partial<Record<StateType, number>>>;
  loops: LoopHealth[];
  /** Nothing has ever run here. */
  empty: boolean;
}

/** What the list of runs shows at this address: numbers lead there. */
function listed(address: Record<string, string>): Criteria {
  return criteriaOf(queryFrom(new URLSearchParams(address)), Date.now());
}

function count(address: Record<string, string>): Promise<number> {
  return told(api.POST('/api/flow_runs/count', { body: listed(address) }));
}

async function list(body: Criteria, sort: FlowRunSort): Promise<FlowRun[]> {
  return (await told(api.POST('/api/flow_runs/filter', { body: { ...body, sort, limit: LINES } }))) as FlowRun[];
}

async function readBars(range: Range, now: number): Promise<Bar[]> {
  const { begin, end } = spanOf(range, now, new Date(now).getTimezoneOffset());
  const body = {
    history_start: new Date(begin).toISOString(),
    history_end: new Date(end).toISOString(),
    history_interval_seconds: range.width / 1000,
    ...listed({}),
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
  const failing = { state: 'FAILED,CRASHED', since: range.name };
  const waiting = listed({ state: 'SCHEDULED' });
  waiting.flow_runs.state = { type: { any_: ['SCHEDULED'] }, name: { not_any_: ['Late'] } };
  const [drawn, running, failed, lateRuns, next, loops, flows, ...counted] = await Promise.all([
    readBars(range, now),
    readRunning(),
    list(listed(failing), 'START_TIME_DESC'),
    list(listed({ name: 'Late' }), 'EXPECTED_START_TIME_ASC'),
    list(waiting, 'NEXT_SCHEDULED_START_TIME_ASC'),
    readLoops(),
    told(api.POST('/api/flows/count', { body: {} })),
    count({ state: 'RUNNING,CANCELLING' }),
    count({ state: 'PENDING' }),
    count({ state: 'PAUSED' }),
    count({ name: 'Late' }),
    count({ state: 'SCHEDULED' }),
    count(failing),
    count({ state: 'COMPLETED', since: range.name }),
  ]);
  const [runningCount, pending, paused, lateCount, scheduled, failedCount, completed] = counted;
  return {
    bars: drawn,
    running: running.runs,
    taskRuns: running.taskRuns,
    failed,
    late: lateRuns,
    next,
    loops,
    empty: flows === 0,
    counts: { running: runningCount, pending, paused, late: lateCount, scheduled, failed: failedCount, completed },
  };
}

async function readRunning(): Promise<Pick<Dashboard, 'taskRuns'> & { runs: FlowRun[] }> {
  const runs = await list(listed({ state: 'RUNNING,CANCELLING' }), 'START_TIME_DESC');
  if (runs.length === 0) return { runs, taskRuns: {} };
  const body = { flow_run_ids: runs.map((run) => run.id) };
  const taskRuns = await told(api.POST('/api/ui/flow_runs/task_run_counts', { body }));
  return { runs, taskRuns: taskRuns as Dashboard['taskRuns'] };
}
