// Moving the focus between the bars of the timeline by keys.
import { begin, type Block, type Rows, type Target } from './rows';

export type Direction = 'left' | 'right' | 'up' | 'down';

/** What has the focus next; the same if there is nothing there. */
export function next(rows: Rows, from: Target | null, direction: Direction, time: number): Target | null {
  if (!from) return firstOf(rows, time);
  if (direction === 'left' || direction === 'right') return beside(from, direction === 'right' ? 1 : -1);
  return below(rows, from, direction === 'down' ? 1 : -1);
}

function firstOf(rows: Rows, time: number): Target | null {
  const block = rows.blocks[0];
  return block ? (inLane(block, 0, time) ?? { block, node: null }) : null;
}

function beside(from: Target, step: number): Target {
  const { block, node } = from;
  if (node === null || !block.lanes) return from;
  const lane = block.lanes.lanes[block.graph.lane[node] as number] ?? [];
  return { block, node: lane[lane.indexOf(node) + step] ?? node };
}

function below(rows: Rows, from: Target, step: number): Target {
  const { block, node } = from;
  const time = node === null ? (block.graph.tasks[block.task]?.firstStart ?? 0) : begin(block.graph, node);
  // The head of a block stands above its first lane.
  let lane = (node === null ? -1 : (block.graph.lane[node] as number)) + step;
  let place = rows.blocks.indexOf(block);
  for (let current: Block | undefined = block; current;) {
    const lanes: number = current.lanes?.lanes.length ?? 0;
    const least: number = current.kind === 'loose' ? 0 : -1;
    if (lane >= least && lane < lanes) {
      const found = lane < 0 ? { block: current, node: null } : inLane(current, lane, time);
      if (found) return found;
      lane += step;
      continue;
    }
    place += step;
    current = rows.blocks[place];
    if (current) lane = step > 0 ? (current.kind === 'loose' ? 0 : -1) : (current.lanes?.lanes.length ?? 0) - 1;
  }
  return from;
}

function inLane(block: Block, lane: number, time: number): Target | null {
  const members = block.lanes?.lanes[lane];
  const node = members && block.lanes?.at(members, time, Infinity);
  return typeof node === 'number' ? { block, node } : null;
}
