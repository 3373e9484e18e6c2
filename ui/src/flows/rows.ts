// The list of flows while it is watched: runs that end add their cells, and nothing moves below the pointer.
import type { FlowRun } from '../api/types';
import type { FlowActivity, LastRun } from './activity';

/** A run as a cell of a strip. */
export function cellOf(run: FlowRun): LastRun {
  return {
    id: run.id,
    name: run.name,
    state_type: run.state_type ?? 'PENDING',
    state_name: run.state_name ?? 'Pending',
    start_ms: run.start_time === null ? null : Date.parse(run.start_time),
    seconds: run.estimated_run_time,
  };
}

/** The flows with these runs in their strips, as they are now; flows that have none of them stay the same objects. */
export function withRuns(flows: readonly FlowActivity[], runs: Iterable<FlowRun>, most: number): FlowActivity[] {
  const latest = new Map<string, Map<string, LastRun>>();
  for (const run of runs) {
    if (run.flow_id === null) continue;
    const cells = latest.get(run.flow_id) ?? new Map<string, LastRun>();
    latest.set(run.flow_id, cells.set(run.id, cellOf(run)));
  }
  return flows.map((flow) => {
    const cells = latest.get(flow.flow_id);
    if (!cells) return flow;
    const known = flow.last_runs.map((run) => {
      const now = cells.get(run.id);
      cells.delete(run.id);
      return now ?? run;
    });
    // What began before the oldest cell is not one of the last runs.
    const oldest = known.length < most ? -Infinity : (known[0]?.start_ms ?? -Infinity);
    const added = [...cells.values()].filter((run) => (run.start_ms ?? Infinity) > oldest);
    return { ...flow, last_runs: [...known, ...added].slice(-most) };
  });
}

/** What has been read anew, in the order of before as far as that is shown; what is new waits, and is counted. */
export function held(
  before: readonly FlowActivity[],
  now: readonly FlowActivity[],
): { flows: FlowActivity[]; waiting: number } {
  const byId = new Map(now.map((flow) => [flow.flow_id, flow]));
  const flows = before.map((flow) => byId.get(flow.flow_id) ?? flow);
  const shown = new Set(before.map((flow) => flow.flow_id));
  return { flows, waiting: now.filter((flow) => !shown.has(flow.flow_id)).length };
}

/** The success rate as people read it: never rounded to "100 %" or "0 %" where it is not. */
export function percent(rate: number): string {
  if (rate > 0.99 && rate < 1) return `${Math.floor(rate * 1000) / 10} %`;
  if (rate > 0 && rate < 0.01) return '<1 %';
  return `${Math.round(rate * 100)} %`;
}

/** The points of a line through values, in a box of this size with a margin of 2. */
export function sparkline(values: readonly number[], width: number, height: number): string {
  const top = Math.max(...values, 0) || 1;
  const step = (width - 4) / Math.max(1, values.length - 1);
  return values
    .map((value, n) => `${(2 + n * step).toFixed(1)},${(height - 2 - (value / top) * (height - 4)).toFixed(1)}`)
    .join(' ');
}
