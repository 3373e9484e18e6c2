// Which task run got what from which: as lines between what is drawn of them, a folded group being one thing.
import type { Graph } from './model';
import type { Rows, Target } from './rows';

export interface Edge {
  graph: Graph;
  from: number;
  to: number;
  /** The one called the other, and gave it no result. */
  call: boolean;
}

/** Up to so many are all drawn; of more, only those of what is pointed at. */
export const FEW = 300;

/** The edges of everything shown, if they are few; null if they are many. */
export function allEdges(rows: Rows): Edge[] | null {
  const graphs = new Set(rows.blocks.map((block) => block.graph));
  const edges: Edge[] = [];
  for (const graph of graphs) {
    const seen = new Set<number>();
    for (let node = 0; node < graph.count; node++) {
      for (const from of graph.parents[node] as number[]) {
        if (isNew(rows, graph, from, node, seen) && edges.push({ graph, from, to: node, call: false }) > FEW) return null;
      }
    }
  }
  return edges;
}

/** The edges of one thing, at most so many as are called few; none of the head of a group that is opened. */
export function edgesOf(rows: Rows, target: Target): Edge[] {
  const { block } = target;
  if (block.kind === 'group' && block.open && target.node === null) return [];
  const graph = block.kind === 'subflow' && block.caller ? block.caller : block.graph;
  const one = block.kind === 'subflow' ? block.node : target.node;
  const isIt =
    one === null ? (node: number): boolean => graph.task[node] === block.task : (node: number): boolean => node === one;
  const seen = new Set<number>();
  const edges: Edge[] = [];
  for (let node = 0; node < graph.count && edges.length < FEW; node++) {
    for (const call of [false, true]) {
      const sources = (call ? graph.callers : graph.parents)[node] as number[];
      for (const from of sources) {
        if ((isIt(node) || isIt(from)) && isNew(rows, graph, from, node, seen)) edges.push({ graph, from, to: node, call });
      }
    }
  }
  return edges;
}

/** Whether an edge joins two things that no edge has joined yet. */
function isNew(rows: Rows, graph: Graph, from: number, to: number, seen: Set<number>): boolean {
  const one = thing(rows, graph, from);
  const other = thing(rows, graph, to);
  if (one === other) return false;
  const code = one * 2 ** 26 + other;
  if (seen.has(code)) return false;
  seen.add(code);
  return true;
}

/** A number for what is drawn of a node: itself, or its folded group. */
function thing(rows: Rows, graph: Graph, node: number): number {
  const block = rows.blockOf(graph, node);
  return block?.lanes ? node : graph.count + (graph.task[node] as number);
}
