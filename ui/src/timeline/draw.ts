// Draws the timeline: only what is seen, bars of one colour together, bars that fall on the same pixels once.
import { STATE_TYPES } from '../api/types';
import { Rectangles, drawShape, shortened, widthOf } from './batch';
import { drawBlockHead } from './drawGroup';
import { drawEdges } from './drawEdges';
import { drawGaps, drawHead } from './drawHead';
import { CODES, label } from './model';
import { HEAD, toTime, toX, type Picture } from './picture';
import { begin, type Block, type Target } from './rows';

const STATES = STATE_TYPES.length;
// From this height and width on a bar has a body, an edge, and a name.
const DETAILED_HEIGHT = 14;
const DETAILED_WIDTH = 5;
const LEAST_WIDTH = 2;
const ICON = 12;
const MOST_NAMES = 600;

const solids = Array.from({ length: STATES }, () => new Rectangles());
const tints = Array.from({ length: STATES }, () => new Rectangles());
const dim = new Rectangles();
const waiting = new Rectangles();
// How far to the right each state is drawn in the lane that is gone through.
const reached = new Float64Array(STATES);

interface Name {
  graph: Block['graph'];
  node: number;
  x: number;
  y: number;
  room: number;
  /** Beside its bar, where lines may cross it. */
  outside: boolean;
}
const names: Name[] = [];
let nameCount = 0;

export function drawTimeline(context: CanvasRenderingContext2D, picture: Picture): void {
  const { width, height, colours, rows, scroll } = picture;
  context.fillStyle = colours.surface;
  context.fillRect(0, 0, width, height);
  context.font = colours.font;
  context.textBaseline = 'middle';
  context.save();
  context.beginPath();
  context.rect(0, HEAD, width, height - HEAD);
  context.clip();
  drawGaps(context, picture);
  const first = rows.firstAt(scroll);
  for (let n = first; n < rows.blocks.length; n++) {
    const block = rows.blocks[n] as Block;
    const y = HEAD + block.y - scroll;
    if (y > height) break;
    drawNesting(context, picture, block, y);
    if (block.lanes) collect(picture, block, y + block.top);
  }
  drawEdges(context, picture, picture.edges, false);
  flush(context, picture);
  for (let n = first; n < rows.blocks.length; n++) {
    const block = rows.blocks[n] as Block;
    const y = HEAD + block.y - scroll;
    if (y > height) break;
    if (block.kind !== 'loose') drawBlockHead(context, picture, block, y);
  }
  drawEdges(context, picture, picture.lit, true);
  drawRing(context, picture, picture.hovered, colours.soft, 1);
  drawRing(context, picture, picture.selected, colours.accent, 2);
  drawRing(context, picture, picture.focused, colours.accent, 2);
  context.restore();
  drawHead(context, picture);
}

/** A line at the left for each subflow that a block is in. */
function drawNesting(context: CanvasRenderingContext2D, picture: Picture, block: Block, y: number): void {
  if (block.depth === 0) return;
  context.fillStyle = picture.colours.nested;
  context.fillRect(0, y - 3, picture.width, block.height + 6);
  context.fillStyle = picture.colours.accent;
  for (let depth = 0; depth < block.depth; depth++) context.fillRect(depth * 5, y - 3, 2, block.height + 6);
}

function collect(picture: Picture, block: Block, top: number): void {
  const { graph, lanes, laneHeight } = block;
  if (!lanes) return;
  const { width, height, view, axis, now } = picture;
  const hits = picture.hits?.get(graph) ?? null;
  const straight = axis.gaps.length === 0;
  const scale = width / (view.to - view.from);
  const fromTime = toTime(picture, 0);
  const toTimeSeen = toTime(picture, width);
  const detailed = laneHeight >= DETAILED_HEIGHT;
  const bar = laneHeight - (detailed ? 4 : 2);
  const firstLane = Math.max(0, Math.floor((HEAD - top) / laneHeight));
  const lastLane = Math.min(lanes.lanes.length, Math.ceil((height - top) / laneHeight));
  for (let n = firstLane; n < lastLane; n++) {
    const lane = lanes.lanes[n] as number[];
    const y = top + n * laneHeight + (laneHeight - bar) / 2;
    reached.fill(-Infinity);
    let before = 0;
    for (let place = lanes.firstSeen(lane, fromTime); place < lane.length; place++) {
      const node = lane[place] as number;
      const start = graph.start[node] as number;
      const from = Number.isNaN(start) ? (graph.since[node] as number) : start;
      if (from > toTimeSeen) break;
      const ended = graph.end[node] as number;
      const to = Number.isNaN(ended) ? Math.max(now, from) : ended;
      const x = straight ? (from - view.from) * scale : toX(picture, from);
      const end = straight ? (to - view.from) * scale : toX(picture, to);
      const state = graph.state[node] as number;
      let right = Math.max(end, x + LEAST_WIDTH);
      if (right <= (reached[state] as number) + 0.5) continue;
      const shown = Math.max(x, reached[state] as number);
      reached[state] = right;
      if (hits && hits[node] !== 1) {
        dim.add(shown, y, right - shown, bar);
      } else if (!detailed || right - x < DETAILED_WIDTH) {
        // Failures are higher than others, so that they are found without colours.
        const less = state === CODES.FAILED || state === CODES.CRASHED ? 0 : bar / 6;
        (solids[state] as Rectangles).add(shown, y + less, right - shown, bar - 2 * less);
        if (detailed) right = nameBar(picture, lane, place, block, before, x, right, y + bar / 2);
      } else {
        if (Number.isNaN(start)) waiting.add(x, y + bar / 2 - 4, right - x, 8);
        else {
          (tints[state] as Rectangles).add(x, y, right - x, bar);
          (solids[state] as Rectangles).add(x, y, 3, bar);
          whisker(picture, graph.since[node] as number, x, before, y + bar / 2);
        }
        right = nameBar(picture, lane, place, block, before, x, right, y + bar / 2);
      }
      before = right;
    }
  }
}

/** How long a bar waited before it began. */
function whisker(picture: Picture, since: number, x: number, before: number, y: number): void {
  if (Number.isNaN(since)) return;
  const from = Math.max(toX(picture, since), before + 2, 0);
  if (x - from > 3) waiting.add(from, y - 0.75, x - from, 1.5);
}

/** Puts a name into its bar, or beside it where there is room; says how far to the right there is none any more. */
function nameBar(
  picture: Picture,
  lane: readonly number[],
  place: number,
  block: Block,
  before: number,
  x: number,
  right: number,
  y: number,
): number {
  if (nameCount >= MOST_NAMES || right < 0) return right;
  const node = lane[place] as number;
  const next = lane[place + 1];
  const inside = right - Math.max(x, 0);
  const behind = (next === undefined ? picture.width : Math.min(picture.width, toX(picture, begin(block.graph, next)))) - right;
  const length = widthOf(nameOf(picture, block.graph, node)) + ICON + 10;
  if (inside >= length + 4) addName(block, node, Math.max(x, 0) + 7, y, inside - 10, false);
  else if (behind >= length) {
    addName(block, node, right + 5, y, behind - 8, true);
    return right + 5 + length;
  } else if (x - before >= length + 6) addName(block, node, x - length - 2, y, length, true);
  else if (inside > 60 || inside > behind) {
    if (inside >= ICON + 10) addName(block, node, Math.max(x, 0) + 7, y, inside - 10, false);
  } else if (behind > 46) {
    addName(block, node, right + 5, y, behind - 10, true);
    return right + behind;
  }
  return right;
}

/** A subflow can be opened and folded; it says so. */
function nameOf(picture: Picture, graph: Block['graph'], node: number): string {
  const name = label(graph.name[node] as string);
  const child = graph.child[node] ?? null;
  return child === null ? name : `${picture.rows.unfolded.has(child) ? '▾' : '▸'} ${name}`;
}

function addName(block: Block, node: number, x: number, y: number, room: number, outside: boolean): void {
  const name = (names[nameCount] ??= { graph: block.graph, node, x, y, room, outside });
  name.graph = block.graph;
  name.node = node;
  name.x = x;
  name.y = y;
  name.room = room;
  name.outside = outside;
  nameCount++;
}

function flush(context: CanvasRenderingContext2D, picture: Picture): void {
  const { colours } = picture;
  context.globalAlpha = 0.5;
  waiting.fill(context, colours.lineStrong);
  context.globalAlpha = 1;
  dim.fill(context, colours.line);
  for (let state = 0; state < STATES; state++) (tints[state] as Rectangles).fill(context, colours.tint[state] as string);
  // Failures lie above the others.
  for (let state = STATES - 1; state >= 0; state--) (solids[state] as Rectangles).fill(context, colours.solid[state] as string);
  for (let n = 0; n < nameCount; n++) {
    const { graph, node, x, y, room, outside } = names[n] as Name;
    const state = graph.state[node] as number;
    const text = shortened(nameOf(picture, graph, node), room - ICON - 4);
    if (outside) {
      context.globalAlpha = 0.75;
      context.fillStyle = graph === picture.root ? colours.surface : colours.nested;
      context.fillRect(x - 2, y - 8, widthOf(text) + ICON + 8, 16);
      context.globalAlpha = 1;
    }
    drawShape(context, state, x, y - ICON / 2, ICON, colours.solid[state] as string);
    if (text === '') continue;
    context.fillStyle = colours.text;
    context.fillText(text, x + ICON + 4, y + 0.5);
  }
  nameCount = 0;
}

function drawRing(
  context: CanvasRenderingContext2D,
  picture: Picture,
  target: Target | null,
  colour: string,
  thick: number,
): void {
  if (!target) return;
  const { block, node } = target;
  const top = HEAD - picture.scroll;
  context.strokeStyle = colour;
  context.lineWidth = thick;
  if (node === null || !block.lanes) {
    context.strokeRect(thick, top + block.y - 1, picture.width - 2 * thick, (block.open ? block.top : block.height) + 2);
    return;
  }
  if ((block.graph.lane[node] as number) < 0) return;
  const { start, end } = block.graph;
  const ended = end[node] as number;
  const from = begin(block.graph, node);
  const x = Math.max(-10, toX(picture, from));
  const right = Math.min(
    picture.width + 10,
    toX(picture, Number.isNaN(ended) || Number.isNaN(start[node]) ? Math.max(picture.now, from) : ended),
  );
  const high = block.laneHeight - 2;
  context.strokeRect(x - 1, top + picture.rows.middleOf(block, node) - high / 2, Math.max(LEAST_WIDTH, right - x) + 2, high);
}
