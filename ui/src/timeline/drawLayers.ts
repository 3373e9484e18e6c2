// Draws the dependencies: boxes in layers, and arrows between them; only what is seen.
import { Rectangles, drawShape, shortened } from './batch';
import type { Colours } from './colours';
import { CODES, label, type Graph } from './model';
import type { Box, Layers } from './layers';

export const BOX = { width: 190, height: 30, right: 64, below: 10, margin: 16 };
// With more arrows than that only those of the box that is pointed at are drawn.
const MOST_ARROWS = 1500;
// Layers with more boxes than that stand at the top.
const MOST_CENTRED = 24;
// Names are not drawn smaller than this part of their size.
const LEGIBLE = 0.6;

export interface LayersPicture {
  graph: Graph;
  laid: Layers;
  scale: number;
  left: number;
  scroll: number;
  width: number;
  height: number;
  hovered: number | null;
  focused: number | null;
  selected: number | null;
  isFound: (node: number) => boolean;
  colours: Colours;
}

export function sizeOf(laid: Layers): { width: number; height: number } {
  const most = laid.layers.reduce((highest, layer) => Math.max(highest, layer.length), 1);
  const layers = Math.max(1, laid.layers.length);
  return {
    width: 2 * BOX.margin + layers * BOX.width + (layers - 1) * BOX.right,
    height: 2 * BOX.margin + most * (BOX.height + BOX.below) - BOX.below,
  };
}

/** Where each box is, in its own measure. A layer stands in the middle, unless one would have to scroll far to see another. */
export function placesOf(laid: Layers): Float64Array {
  const step = BOX.height + BOX.below;
  const most = laid.layers.reduce((highest, layer) => Math.max(highest, layer.length), 0);
  const places = new Float64Array(laid.boxes.length * 2);
  laid.boxes.forEach((box, n) => {
    const own = laid.layers[box.layer]?.length ?? 1;
    places[2 * n] = BOX.margin + box.layer * (BOX.width + BOX.right);
    places[2 * n + 1] = BOX.margin + box.row * step + (most <= MOST_CENTRED ? ((most - own) / 2) * step : 0);
  });
  return places;
}

export function boxAt(laid: Layers, places: Float64Array, x: number, y: number): number | null {
  const layer = laid.layers[Math.floor((x - BOX.margin) / (BOX.width + BOX.right))];
  const first = layer?.[0];
  if (!layer || first === undefined) return null;
  const row = Math.floor((y - (places[2 * first + 1] as number)) / (BOX.height + BOX.below));
  const box = layer[row];
  if (box === undefined) return null;
  const [left, top] = [places[2 * box] as number, places[2 * box + 1] as number];
  return x >= left && x <= left + BOX.width && y >= top && y <= top + BOX.height ? box : null;
}

const solids = Array.from({ length: 9 }, () => new Rectangles());
const tints = Array.from({ length: 9 }, () => new Rectangles());
const dim = new Rectangles();

export function drawLayers(context: CanvasRenderingContext2D, picture: LayersPicture, places: Float64Array): void {
  const { colours, width, height, scale, left, scroll, laid } = picture;
  context.fillStyle = colours.surface;
  context.fillRect(0, 0, width, height);
  context.save();
  context.translate(-left, -scroll);
  context.scale(scale, scale);
  drawArrows(context, picture, places);
  const top = scroll / scale;
  const bottom = (scroll + height) / scale;
  context.textBaseline = 'middle';
  const seen: number[] = [];
  for (let n = 0; n < laid.layers.length; n++) {
    const layer = laid.layers[n] as number[];
    const x = BOX.margin + n * (BOX.width + BOX.right);
    if ((x + BOX.width) * scale < left || x * scale > left + width) continue;
    const first = places[2 * (layer[0] ?? 0) + 1] ?? 0;
    const step = BOX.height + BOX.below;
    const from = Math.max(0, Math.floor((top - first) / step));
    const to = Math.min(layer.length, Math.ceil((bottom - first) / step) + 1);
    for (let row = from; row < to; row++) {
      const box = layer[row] as number;
      seen.push(box);
      body(picture, laid.boxes[box] as Box, x, places[2 * box + 1] as number);
    }
  }
  dim.fill(context, colours.line);
  tints.forEach((batch, state) => batch.fill(context, colours.tint[state] as string));
  solids.forEach((batch, state) => batch.fill(context, colours.solid[state] as string));
  if (scale >= LEGIBLE)
    for (const box of seen)
      text(context, picture, laid.boxes[box] as Box, places[2 * box] as number, places[2 * box + 1] as number);
  ring(context, places, picture.hovered, colours.soft, 1);
  ring(context, places, picture.selected, colours.accent, 2);
  ring(context, places, picture.focused, colours.accent, 2.5);
  context.restore();
}

/** The worst state of what a box stands for, and how many of them are in each. */
function statesOf(graph: Graph, box: Box): { shown: number; counts: Uint32Array } {
  const task = graph.taskAt(box.task);
  const known = remembered.get(box);
  if (known && known.version === task.version) return known;
  const counts = new Uint32Array(9);
  if (graph.grouped) counts.set(task.counts);
  else
    for (const node of box.members) counts[graph.state[node] as number] = (counts[graph.state[node] as number] as number) + 1;
  const shown = counts.findIndex((count, state) => count > 0 && (state !== CODES.PENDING || count === box.members.length));
  const found = { version: task.version, shown: Math.max(0, shown), counts };
  remembered.set(box, found);
  return found;
}
const remembered = new WeakMap<Box, { version: number; shown: number; counts: Uint32Array }>();

function body(picture: LayersPicture, box: Box, x: number, y: number): void {
  const { graph } = picture;
  const { shown, counts } = statesOf(graph, box);
  if (box.members.length > 0 && !box.members.some(picture.isFound)) {
    dim.add(x, y, BOX.width, BOX.height);
    return;
  }
  (tints[shown] as Rectangles).add(x, y, BOX.width, BOX.height);
  if (!box.group) {
    (solids[shown] as Rectangles).add(x, y, 3, BOX.height);
    return;
  }
  const total = counts.reduce((sum, count) => sum + count, 0);
  let at = x;
  for (let state = 0; state < counts.length; state++) {
    const wide = ((counts[state] as number) / total) * BOX.width;
    if (wide > 0) (solids[state] as Rectangles).add(at, y + BOX.height - 4, wide, 4);
    at += wide;
  }
}

function text(context: CanvasRenderingContext2D, picture: LayersPicture, box: Box, x: number, y: number): void {
  const { graph, colours } = picture;
  const task = graph.taskAt(box.task);
  const { shown } = statesOf(graph, box);
  const middle = y + BOX.height / 2 - (box.group ? 1 : 0);
  drawShape(context, shown, x + 9, middle - 6, 12, colours.solid[shown] as string);
  const node = box.members[0];
  const name = box.group || node === undefined ? task.name : label(graph.name[node] as string);
  const number = box.group ? `${(graph.grouped ? task.total : box.members.length).toLocaleString('en')} ×` : '';
  context.font = box.group ? colours.bold : colours.font;
  context.fillStyle = colours.text;
  context.fillText(shortened(name, BOX.width - 40 - number.length * 7), x + 27, middle + 0.5);
  if (number) {
    context.font = colours.font;
    context.textAlign = 'right';
    context.fillText(number, x + BOX.width - 8, middle + 0.5);
    context.textAlign = 'left';
  }
}

function drawArrows(context: CanvasRenderingContext2D, picture: LayersPicture, places: Float64Array): void {
  const { laid, colours, scale, left, scroll, width, height } = picture;
  const pointed = picture.hovered ?? picture.focused ?? picture.selected;
  for (const lit of [false, true]) {
    if (!lit && laid.arrows.length > MOST_ARROWS) continue;
    context.strokeStyle = lit ? colours.accent : colours.lineStrong;
    context.lineWidth = (lit ? 1.75 : 1.1) / Math.max(0.35, Math.min(1, scale));
    for (const call of [false, true]) {
      context.setLineDash(call ? [4, 3] : []);
      context.beginPath();
      for (const arrow of laid.arrows) {
        if (arrow.call !== call || lit !== (arrow.from === pointed || arrow.to === pointed)) continue;
        const x = (places[2 * arrow.from] as number) + BOX.width;
        const y = (places[2 * arrow.from + 1] as number) + BOX.height / 2;
        const right = places[2 * arrow.to] as number;
        const down = (places[2 * arrow.to + 1] as number) + BOX.height / 2;
        if (right * scale < left || x * scale > left + width) continue;
        if (Math.max(y, down) * scale < scroll || Math.min(y, down) * scale > scroll + height) continue;
        const bend = (right - x) / 2;
        context.moveTo(x, y);
        context.bezierCurveTo(x + bend, y, right - bend, down, right, down);
        context.moveTo(right - 5, down - 3.5);
        context.lineTo(right, down);
        context.lineTo(right - 5, down + 3.5);
      }
      context.stroke();
    }
  }
  context.setLineDash([]);
}

function ring(
  context: CanvasRenderingContext2D,
  places: Float64Array,
  box: number | null,
  colour: string,
  thick: number,
): void {
  if (box === null) return;
  context.strokeStyle = colour;
  context.lineWidth = thick;
  context.strokeRect((places[2 * box] as number) - 1, (places[2 * box + 1] as number) - 1, BOX.width + 2, BOX.height + 2);
}
