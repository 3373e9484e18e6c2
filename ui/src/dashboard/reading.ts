// What the dashboard asks the server for. As in the list of runs, subflow runs are left out: they belong to their parents.
import { api, told } from '../api/client';
import type { LoopHealth } from '../api/schema';
import type { FlowRun, FlowRunSort, StateType } from '../api/types';
import { criteriaOf, queryFrom, type Criteria } from '../runs/query';
import { bars, spanOf, type Bar, type Range } from './activity';

const LINES = 8;

export interface Dashboard {
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

function scheduled(name: { any_: string[] } | { not_any_: string[] }): Criteria {
  const criteria = listed({ state: 'SCHEDULED' });
  return { ...criteria, flow_runs: { ...criteria.flow_runs, state: { type: { any_: ['SCHEDULED'] }, name } } };
}

function count(body: Criteria): Promise<number> {
  return told(api.POST('/api/flow_runs/count', { body }));
}

async function list(body: Criteria, sort: FlowRunSort): Promise<FlowRun[]> {
  return (await told(api.POST('/api/flow_runs/filter', { body: { ...body, sort, limit: LINES } }))) as FlowRun[];
}

export async function readBars(range: Range): Promise<Bar[]> {
  const now = Date.now();
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
  const failing = { state: 'FAILED,CRASHED', since: range.name };
  // Both are SCHEDULED; said with the type they are found in an index.
  const late = scheduled({ any_: ['Late'] });
  const waiting = scheduled({ not_any_: ['Late'] });
  const [running, failed, lateRuns, next, loops, flows, ...counted] = await Promise.all([
    readRunning(),
    list(listed(failing), 'START_TIME_DESC'),
    list(late, 'EXPECTED_START_TIME_ASC'),
    list(waiting, 'NEXT_SCHEDULED_START_TIME_ASC'),
    readLoops(),
    told(api.POST('/api/flows/count', { body: {} })),
    count(listed({ state: 'RUNNING,CANCELLING' })),
    count(listed({ state: 'PENDING' })),
    count(listed({ state: 'PAUSED' })),
    count(late),
    count(listed({ state: 'SCHEDULED' })),
    count(listed(failing)),
    count(listed({ state: 'COMPLETED', since: range.name })),
  ]);
  const [runningCount, pending, paused, lateCount, scheduledCount, failedCount, completed] = counted;
  return {
    running: running.runs,
    taskRuns: running.taskRuns,
    failed,
    late: lateRuns,
    next,
    loops,
    empty: flows === 0,
    counts: {
      running: runningCount,
      pending,
      paused,
      late: lateCount,
      scheduled: scheduledCount,
      failed: failedCount,
      completed,
    },
  };
}

async function readRunning(): Promise<Pick<Dashboard, 'taskRuns'> & { runs: FlowRun[] }> {
  const runs = await list(listed({ state: 'RUNNING,CANCELLING' }), 'START_TIME_DESC');
  if (runs.length === 0) return { runs, taskRuns: {} };
  const body = { flow_run_ids: runs.map((run) => run.id) };
  const taskRuns = await told(api.POST('/api/ui/flow_runs/task_run_counts', { body }));
  return { runs, taskRuns: taskRuns as Dashboard['taskRuns'] };
}
