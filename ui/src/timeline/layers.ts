// The dependencies of a flow run as layers from left to right: what depends on nothing first, then what depends on that.
import type { Graph } from './model';

export interface Box {
  /** The task runs that it stands for. */
  members: readonly number[];
  task: number;
  /** It stands for many. */
  group: boolean;
  layer: number;
  /** Its place within its layer, from the top. */
  row: number;
}

export interface Arrow {
  from: number;
  to: number;
  /** One called the other, and gave it no result. */
  call: boolean;
}

export interface Layers {
  boxes: Box[];
  arrows: Arrow[];
  /** The boxes of each layer, from the top. */
  layers: number[][];
  /** The box of each task run. */
  boxOf: Int32Array;
}

const SWEEPS = 4;

/** Lays the task runs out in layers; so many runs of one task in one layer stand in one box, unless that is opened. */
export function layered(graph: Graph, opened: (task: number) => boolean = () => false): Layers {
  const layer = depths(graph);
  const { boxes, boxOf } = boxesOf(graph, layer, opened);
  const arrows = arrowsOf(graph, boxOf);
  const layers: number[][] = [];
  boxes.forEach((box, place) => (layers[box.layer] ??= []).push(place));
  ordered(layers, boxes, arrows);
  return { boxes, arrows, layers, boxOf };
}

/** The tasks alone, one below the other: for a flow run of which only its tasks are known. */
export function tasksAlone(graph: Graph): Layers {
  const inOrder = graph.tasks.map((_, task) => task);
  const boxes = inOrder.map((task, row) => ({ members: graph.taskAt(task).members, task, group: true, layer: 0, row }));
  return { boxes, arrows: [], layers: [inOrder], boxOf: Int32Array.from(graph.task.subarray(0, graph.count)) };
}

/** For each task run the length of the longest way to it. A circle, which there should not be, is cut. */
export function depths(graph: Graph): Int32Array {
  const { count, parents, callers } = graph;
  const waits = new Int32Array(count);
  const children: number[][] = Array.from({ length: count }, () => []);
  for (let node = 0; node < count; node++) {
    for (const parent of [...(parents[node] as number[]), ...(callers[node] as number[])]) {
      children[parent]?.push(node);
      waits[node] = (waits[node] as number) + 1;
    }
  }
  const depth = new Int32Array(count);
  const ready: number[] = [];
  for (let node = 0; node < count; node++) if (waits[node] === 0) ready.push(node);
  for (let next = 0; next < ready.length; next++) {
    const node = ready[next] as number;
    for (const child of children[node] as number[]) {
      depth[child] = Math.max(depth[child] as number, (depth[node] as number) + 1);
      waits[child] = (waits[child] as number) - 1;
      if (waits[child] === 0) ready.push(child);
    }
  }
  return depth;
}

function boxesOf(graph: Graph, layer: Int32Array, opened: (task: number) => boolean): { boxes: Box[]; boxOf: Int32Array } {
  const together = new Map<number, number[]>();
  const layers = Math.max(1, graph.count);
  for (let node = 0; node < graph.count; node++) {
    const key = (graph.task[node] as number) * layers + (layer[node] as number);
    const members = together.get(key);
    if (members) members.push(node);
    else together.set(key, [node]);
  }
  const boxes: Box[] = [];
  const boxOf = new Int32Array(graph.count).fill(-1);
  for (const members of together.values()) {
    const first = members[0] as number;
    const task = graph.task[first] as number;
    const common = { task, layer: layer[first] as number, row: 0 };
    if (members.length >= graph.groupFrom && !opened(task)) {
      for (const member of members) boxOf[member] = boxes.length;
      boxes.push({ ...common, members, group: true });
      continue;
    }
    for (const member of members) boxOf[member] = boxes.push({ ...common, members: [member], group: false }) - 1;
  }
  return { boxes, boxOf };
}

function arrowsOf(graph: Graph, boxOf: Int32Array): Arrow[] {
  const boxes = graph.count + 1;
  const seen = new Set<number>();
  const arrows: Arrow[] = [];
  for (const call of [false, true]) {
    const sources = call ? graph.callers : graph.parents;
    for (let node = 0; node < graph.count; node++) {
      for (const source of sources[node] as number[]) {
        const from = boxOf[source] as number;
        const to = boxOf[node] as number;
        if (from === to || seen.has(from * boxes + to)) continue;
        seen.add(from * boxes + to);
        arrows.push({ from, to, call });
      }
    }
  }
  return arrows;
}

/** Orders the boxes of each layer by the middle of what they are connected with, so that few arrows cross. */
function ordered(layers: number[][], boxes: Box[], arrows: readonly Arrow[]): void {
  const before: number[][] = boxes.map(() => []);
  const behind: number[][] = boxes.map(() => []);
  for (const { from, to } of arrows) {
    before[to]?.push(from);
    behind[from]?.push(to);
  }
  const number = (layer: number[]): void => layer.forEach((place, row) => ((boxes[place] as Box).row = row));
  layers.forEach(number);
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const forward = sweep % 2 === 0;
    const neighbours = forward ? before : behind;
    for (const layer of forward ? layers : [...layers].reverse()) {
      const middle = new Map(layer.map((place) => [place, middleOf(neighbours[place] as number[], place, boxes)]));
      layer.sort((a, b) => (middle.get(a) as number) - (middle.get(b) as number));
      number(layer);
    }
  }
}

function middleOf(neighbours: readonly number[], place: number, boxes: readonly Box[]): number {
  if (neighbours.length === 0) return (boxes[place] as Box).row;
  return neighbours.reduce((sum, neighbour) => sum + (boxes[neighbour] as Box).row, 0) / neighbours.length;
}
