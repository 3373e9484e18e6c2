// What stands where, from the top: task runs packed into lanes, groups of many runs of one task, subflows that are opened.
import { Density } from './density';
import { Lanes } from './lanes';
import type { Graph } from './model';

export interface Block {
  kind: 'loose' | 'group' | 'subflow';
  graph: Graph;
  /** How many subflows it is in. */
  depth: number;
  y: number;
  height: number;
  /** Of a group: its task's place. */
  task: number;
  open: boolean;
  lanes: Lanes | null;
  /** Where its lanes begin, below its own top. */
  top: number;
  laneHeight: number;
  density: Density | null;
  /** Of a subflow: the node that it is, in the flow run that called it. */
  node: number;
  caller: Graph | null;
}

/** Something that can be pointed at: a task run, or the head of a block. */
export interface Target {
  block: Block;
  node: number | null;
}

export const HEADER = 24;
const FOLDED = 52;
const LOOSE_LANE = 24;
const LANE = 18;
const THIN_LANE = 7;
// From so many lanes on they are thin.
const MANY_LANES = 40;
const BETWEEN = 6;

export interface Folding {
  isOpen(graph: Graph, task: number): boolean;
  /** The contents of a subflow, if it is opened and known. */
  subflow(flowRunId: string): Graph | undefined;
}

export class Rows {
  blocks: Block[] = [];
  height = 0;
  /** The subflow runs whose contents are shown. */
  readonly unfolded = new Set<string>();
  private readonly byTask = new Map<Graph, Block[]>();

  /** Lays everything out; names beside loose bars get `gap` milliseconds. */
  build(root: Graph, folding: Folding, gap: number): void {
    const densities = new Map(this.blocks.map((block) => [key(block), block.density]));
    this.blocks = [];
    this.byTask.clear();
    this.unfolded.clear();
    this.add(root, 0, folding, gap, densities);
    this.stack();
  }

  private add(graph: Graph, depth: number, folding: Folding, gap: number, densities: Map<string, Density | null>): void {
    const ofTask: Block[] = [];
    this.byTask.set(graph, ofTask);
    const inOrder = graph.tasks.map((_, n) => n).sort((a, b) => order(graph, a) - order(graph, b) || a - b);
    const common = { graph, depth, y: 0, height: 0, node: -1, caller: null };
    let loose: Block | null = null;
    let members: number[] = [];
    const close = (): void => {
      if (!loose) return;
      loose.lanes?.pack(members);
      this.blocks.push(loose);
      for (const node of members) this.addSubflow(graph, node, depth, folding, gap, densities);
      loose = null;
      members = [];
    };
    for (const n of inOrder) {
      const task = graph.taskAt(n);
      if (graph.isGroup(task)) {
        close();
        const open = folding.isOpen(graph, n);
        const block: Block = {
          ...common,
          kind: 'group',
          task: n,
          open,
          lanes: null,
          top: HEADER,
          laneHeight: LANE,
          density: null,
        };
        if (open) {
          block.lanes = new Lanes(() => graph);
          block.lanes.pack(task.members);
        }
        block.density = densities.get(key(block)) ?? new Density();
        ofTask[n] = block;
        this.blocks.push(block);
        if (open) for (const node of task.members) this.addSubflow(graph, node, depth, folding, gap, densities);
      } else {
        loose ??= {
          ...common,
          kind: 'loose',
          task: -1,
          open: true,
          lanes: new Lanes(
            () => graph,
            gap,
            (node) => begin(graph, node),
          ),
          top: 0,
          laneHeight: LOOSE_LANE,
          density: null,
        };
        ofTask[n] = loose;
        for (const node of task.members) members.push(node);
      }
    }
    close();
  }

  private addSubflow(
    caller: Graph,
    node: number,
    depth: number,
    folding: Folding,
    gap: number,
    densities: Map<string, Density | null>,
  ): void {
    const child = caller.child[node];
    const graph = child ? folding.subflow(child) : undefined;
    if (!child || !graph) return;
    this.unfolded.add(child);
    const empty = { y: 0, height: 0, task: -1, open: true, lanes: null, top: HEADER, laneHeight: LANE, density: null };
    this.blocks.push({ ...empty, kind: 'subflow', graph, depth: depth + 1, node, caller });
    this.add(graph, depth + 1, folding, gap, densities);
  }

  /** Finds places for nodes that are new or have begun; says whether anything below has moved. */
  place(graph: Graph, nodes: readonly number[]): boolean {
    const before = this.height;
    for (const node of nodes) this.byTask.get(graph)?.[graph.task[node] as number]?.lanes?.place(node);
    this.stack();
    return this.height !== before;
  }

  stack(): void {
    let y = BETWEEN;
    for (const block of this.blocks) {
      block.y = y;
      const lanes = block.lanes?.lanes.length ?? 0;
      if (block.kind === 'group' && block.open) block.laneHeight = lanes > MANY_LANES ? THIN_LANE : LANE;
      if (block.kind === 'subflow') block.height = HEADER;
      else if (block.kind === 'group' && !block.open) block.height = FOLDED;
      else block.height = block.top + lanes * block.laneHeight;
      y += block.height + BETWEEN;
    }
    this.height = y;
  }

  /** The place of the first block that reaches below there. */
  firstAt(y: number): number {
    let low = 0;
    let high = this.blocks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const block = this.blocks[middle] as Block;
      if (block.y + block.height < y) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  blockOf(graph: Graph, node: number): Block | null {
    return this.byTask.get(graph)?.[graph.task[node] as number] ?? null;
  }

  /** The middle of a node from the top; that of its group, if that is folded. */
  middleOf(block: Block, node: number | null): number {
    if (node === null || !block.lanes) return block.y + (block.open ? HEADER / 2 : block.height / 2);
    const lane = block.graph.lane[node] as number;
    return lane < 0 ? block.y + HEADER / 2 : block.y + block.top + (lane + 0.5) * block.laneHeight;
  }

  /** What stands there, near enough to a time. */
  at(y: number, time: number, reach: number): Target | null {
    const block = this.blocks[this.firstAt(y)];
    if (!block || y < block.y) return null;
    if (!block.lanes || y < block.y + block.top) return block.kind === 'loose' ? null : { block, node: null };
    const lane = block.lanes.lanes[Math.floor((y - block.y - block.top) / block.laneHeight)];
    const node = lane && block.lanes.at(lane, time, reach);
    return typeof node === 'number' ? { block, node } : null;
  }
}

/** When a node is drawn to begin: while it waits, with its waiting. */
export function begin(graph: Graph, node: number): number {
  const start = graph.start[node] as number;
  return Number.isNaN(start) ? (graph.since[node] as number) : start;
}

function order(graph: Graph, task: number): number {
  const { firstStart, members } = graph.taskAt(task);
  if (!Number.isNaN(firstStart)) return firstStart;
  const first = members[0];
  return first === undefined ? Number.MAX_VALUE : begin(graph, first);
}

function key(block: Block): string {
  return `${block.graph.flowRunId}/${block.task}`;
}
