// Runs of a flow beside each other, and what became of each of its tasks in them.
import type { Cell } from '../api/schema';
import type { LastRun } from '../flows/activity';
import { stateWord } from '../parts/states';
import { duration, plural } from '../parts/times';

/** Where a cell leads: to the task run if it stands for one, else to its run's task runs. */
export function cellPath(cell: Cell, run: LastRun): string {
  return cell.task_run_id ? `/task-runs/${cell.task_run_id}` : `/runs/${run.id}?tab=task-runs`;
}

export function cellName(task: string, cell: Cell, run: LastRun): string {
  const many = cell.total > 1 ? ` · ${plural(cell.total, 'task run')}, the worst is shown` : '';
  const time = cell.seconds === null ? '' : `, ${duration(cell.seconds)}`;
  return `${task} in ${run.name} · ${stateWord(cell.state_type)}${time}${many}`;
}

/** How high the bar of a run is, in percent of the longest. */
export function heights(runs: readonly LastRun[]): number[] {
  const longest = Math.max(...runs.map((run) => run.seconds), 0) || 1;
  return runs.map((run) => Math.max(4, (100 * run.seconds) / longest));
}
