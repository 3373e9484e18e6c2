// A task run or a group in words, and as others are told of it.
import { STATE_TYPES, type StateType } from '../api/types';
import { stateWord } from '../parts/states';
import { duration, plural } from '../parts/times';
import type { Graph, Task } from './model';

/** A task run, as those are told that want to know what was chosen. */
export interface TimelineNode {
  id: string;
  flowRunId: string;
  name: string;
  taskKey: string;
  stateType: StateType;
  stateName: string;
  /** Milliseconds since the epoch. */
  start: number | null;
  end: number | null;
  attempt: number;
  runCount: number;
  /** The subflow run that it stands for. */
  childFlowRunId: string | null;
}

export function nodeOf(graph: Graph, node: number): TimelineNode {
  const moment = (time: number | undefined): number | null =>
    time === undefined || Number.isNaN(time) ? null : time + graph.origin;
  return {
    id: graph.id[node] as string,
    flowRunId: graph.flowRunId,
    name: graph.name[node] as string,
    taskKey: graph.taskOf(node).key,
    stateType: STATE_TYPES[graph.state[node] as number] ?? 'PENDING',
    stateName: graph.stateName[node] as string,
    start: moment(graph.start[node]),
    end: moment(graph.end[node]),
    attempt: graph.attempt[node] as number,
    runCount: graph.runs[node] as number,
    childFlowRunId: graph.child[node] ?? null,
  };
}

/** The address of a task run's page, or of the flow run's that it stands for. */
export function pageOf(node: TimelineNode): string {
  return node.childFlowRunId ? `/runs/${node.childFlowRunId}` : `/task-runs/${node.id}`;
}

export function lengthOf(node: TimelineNode, now: number): string {
  if (node.start === null) return 'not begun';
  return duration(Math.max(0, (node.end ?? now) - node.start) / 1000);
}

export function inWords(node: TimelineNode, now: number): string {
  const tries = node.runCount > 1 ? `, ${node.runCount} tries` : '';
  const subflow = node.childFlowRunId ? ', a subflow' : '';
  return `${node.name}${subflow}: ${node.stateName}, ${lengthOf(node, now)}${tries}`;
}

export function countsOf(task: Task): { type: StateType; count: number }[] {
  return STATE_TYPES.map((type, code) => ({ type, count: task.counts[code] as number })).filter(({ count }) => count > 0);
}

export function groupInWords(task: Task): string {
  const counts = countsOf(task).map(({ type, count }) => `${count.toLocaleString('en')} ${stateWord(type).toLowerCase()}`);
  return `${task.name}, ${plural(task.total, 'run')}: ${counts.join(', ')}`;
}
