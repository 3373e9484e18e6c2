// Draws the head of a group or of an opened subflow, and how many runs of a folded group were running when.
import { duration } from '../parts/times';
import { Rectangles, drawShape, shortened, widthOf } from './batch';
import { KINDS, type Density } from './density';
import { label, type Task } from './model';
import { toTime, toX, type Picture } from './picture';
import { HEADER, type Block } from './rows';

const STEP = 2;
const kinds = KINDS.map(() => new Rectangles());
const before = new Float64Array(KINDS.length);
// A drawing is as many milliseconds old at the most while runs come.
const STALE = 400;
const seen = new WeakMap<Density, number>();

export function drawBlockHead(context: CanvasRenderingContext2D, picture: Picture, block: Block, y: number): void {
  const { colours, width } = picture;
  const indent = block.depth * 5 + 8;
  if (block.kind === 'group') {
    const task = block.graph.taskAt(block.task);
    if (!block.open) drawDensity(context, picture, block, task, y + HEADER, block.height - HEADER);
    drawTitle(context, picture, block, task.name, indent, y);
    drawCounts(context, picture, block, task, indent + 20 + widthOf(task.name) * 1.08 + 10, y + HEADER / 2);
    context.fillStyle = colours.line;
    context.fillRect(0, y + block.height - 1, width, 1);
    return;
  }
  const name = block.caller ? label(block.caller.name[block.node] as string) : '';
  drawTitle(context, picture, block, `${name}, a subflow`, indent, y);
}

function drawTitle(
  context: CanvasRenderingContext2D,
  picture: Picture,
  block: Block,
  text: string,
  x: number,
  y: number,
): void {
  const { colours } = picture;
  const middle = y + HEADER / 2;
  context.fillStyle = colours.soft;
  context.beginPath();
  if (block.open) {
    context.moveTo(x, middle - 3);
    context.lineTo(x + 9, middle - 3);
    context.lineTo(x + 4.5, middle + 4);
  } else {
    context.moveTo(x + 1, middle - 5);
    context.lineTo(x + 8, middle);
    context.lineTo(x + 1, middle + 5);
  }
  context.fill();
  context.font = colours.bold;
  context.fillStyle = colours.text;
  context.fillText(shortened(text, picture.width - x - 30), x + 16, middle + 0.5);
  context.font = colours.font;
}

function drawCounts(
  context: CanvasRenderingContext2D,
  picture: Picture,
  block: Block,
  task: Task,
  from: number,
  y: number,
): void {
  const { colours, width } = picture;
  let x = from;
  const write = (text: string, colour: string): void => {
    if (x + widthOf(text) > width) return;
    context.fillStyle = colour;
    context.fillText(text, x, y + 0.5);
    x += widthOf(text) + 12;
  };
  write(`${task.total.toLocaleString('en')} runs`, colours.soft);
  for (let state = 0; state < task.counts.length; state++) {
    const count = task.counts[state] as number;
    if (count === 0) continue;
    if (x + 50 > width) return;
    drawShape(context, state, x, y - 6, 12, colours.solid[state] as string);
    x += 16;
    write(count.toLocaleString('en'), colours.text);
  }
  const span = task.lastEnd - task.firstStart;
  if (span >= 0) write(`in ${duration(span / 1000)}`, colours.soft);
  if (block.open && task.members.length < task.total)
    write(`${task.members.length.toLocaleString('en')} of them shown`, colours.soft);
}

function drawDensity(
  context: CanvasRenderingContext2D,
  picture: Picture,
  block: Block,
  task: Task,
  y: number,
  height: number,
): void {
  const room = height - 4;
  const base = y + height - 2;
  if (task.activity && block.graph.grouped) {
    drawActivity(context, picture, task.activity, base, room);
    return;
  }
  const density = block.density;
  if (!density) return;
  refresh(density, block, task);
  const first = Math.max(0, Math.floor(toX(picture, task.firstStart)));
  const until = task.counts[0] ? picture.now : task.lastEnd;
  const last = Math.min(picture.width, Math.ceil(toX(picture, until)) + STEP);
  if (!(last > first)) return;
  let time = toTime(picture, first);
  for (let kind = 0; kind < KINDS.length; kind++) before[kind] = density.worked(kind, time);
  for (let x = first; x < last; x += STEP) {
    const next = Math.min(toTime(picture, x + STEP), Math.max(picture.now, time));
    const length = next - time;
    if (!(length > 0)) break;
    let bottom = base;
    for (let kind = 0; kind < KINDS.length; kind++) {
      const worked = density.worked(kind, next);
      const running = (worked - (before[kind] as number)) / length;
      before[kind] = worked;
      if (running < 1e-4) continue;
      // What failed is seen however short it was.
      const high = Math.max(kind === 0 ? 3 : 1, Math.min(room, (running / density.peak) * room));
      (kinds[kind] as Rectangles).add(x, bottom - high, STEP, high);
      bottom -= high;
    }
    time = next;
  }
  for (let kind = 0; kind < KINDS.length; kind++)
    (kinds[kind] as Rectangles).fill(context, picture.colours.kind[kind] as string);
}

/** A density is worked out again when its task has changed, but not for each of many events. */
function refresh(density: Density, block: Block, task: Task): void {
  if (density.version === task.version) return;
  const now = performance.now();
  if (density.version >= 0 && now - (seen.get(density) ?? 0) < STALE) return;
  seen.set(density, now);
  density.update(block.graph, task.members, task.version);
}

function drawActivity(
  context: CanvasRenderingContext2D,
  picture: Picture,
  activity: NonNullable<Task['activity']>,
  base: number,
  room: number,
): void {
  const most = Math.max(1e-9, ...activity.running);
  context.globalAlpha = 0.55;
  context.fillStyle = picture.colours.soft;
  activity.running.forEach((running, n) => {
    const x = toX(picture, activity.begin + n * activity.width);
    const right = toX(picture, activity.begin + (n + 1) * activity.width);
    if (running <= 0 || right < 0 || x > picture.width) return;
    const high = Math.max(1, (running / most) * room);
    context.fillRect(x, base - high, Math.max(1, right - x), high);
  });
  context.globalAlpha = 1;
}
