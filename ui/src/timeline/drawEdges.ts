// Draws dependencies as curves from the end of one bar to the beginning of another.
import type { Edge } from './edges';
import { HEAD, toX, type Picture } from './picture';
import { begin } from './rows';

export function drawEdges(context: CanvasRenderingContext2D, picture: Picture, edges: readonly Edge[], lit: boolean): void {
  if (edges.length === 0) return;
  context.strokeStyle = lit ? picture.colours.accent : picture.colours.lineStrong;
  context.lineWidth = lit ? 1.75 : 1.1;
  for (const call of [false, true]) {
    context.setLineDash(call ? [3, 3] : []);
    context.beginPath();
    for (const edge of edges) if (edge.call === call) trace(context, picture, edge);
    context.stroke();
  }
  context.setLineDash([]);
}

function trace(context: CanvasRenderingContext2D, picture: Picture, { graph, from, to, call }: Edge): void {
  const { rows, height, width, scroll } = picture;
  const source = rows.blockOf(graph, from);
  const sink = rows.blockOf(graph, to);
  if (!source || !sink) return;
  const top = HEAD - scroll;
  const y = top + rows.middleOf(source, from);
  const downTo = top + rows.middleOf(sink, to);
  if (Math.max(y, downTo) < HEAD || Math.min(y, downTo) > height) return;
  const out = source.lanes
    ? endOf(picture, graph.end[from] as number, call ? begin(graph, from) : null)
    : graph.taskOf(from).lastEnd;
  const into = sink.lanes ? begin(graph, to) : graph.taskOf(to).firstStart;
  const right = toX(picture, Number.isNaN(into) ? picture.now : into);
  // Of a group, some have ended before others; so something may follow from it while it goes on.
  const x = Math.min(toX(picture, Number.isNaN(out) ? picture.now : out), source.lanes ? Infinity : right);
  if (Math.max(x, right) < 0 || Math.min(x, right) > width) return;
  // It leaves and arrives level; what begins before the other has ended makes a loop.
  const bend = Math.min(60, Math.max(8, Math.abs(right - x) / 2, Math.abs(downTo - y) / 6));
  context.moveTo(x, y);
  context.bezierCurveTo(x + bend, y, right - bend, downTo, right, downTo);
}

/** Where an edge leaves: a call, at the beginning of the one that calls. */
function endOf(picture: Picture, end: number, call: number | null): number {
  if (call !== null) return call;
  return Number.isNaN(end) ? picture.now : end;
}
