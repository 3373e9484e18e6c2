// Draws the time axis, the states of the flow run, the gaps between them, and where now is.
import { STATE_TYPES } from '../api/types';
import { duration } from '../parts/times';
import { drawShape, shortened, widthOf } from './batch';
import { CODES } from './model';
import { AXIS, BAND, HEAD, toTime, toX, type Picture } from './picture';

/** Lines for the ticks, and hatching where time is drawn short: below everything. */
export function drawGaps(context: CanvasRenderingContext2D, picture: Picture): void {
  const { colours, height, width } = picture;
  context.fillStyle = colours.line;
  context.globalAlpha = 0.6;
  for (const { at } of ticks(picture)) context.fillRect(Math.round(toX(picture, at)), HEAD, 1, height - HEAD);
  context.globalAlpha = 1;
  for (const gap of picture.axis.gaps) {
    const from = Math.max(0, toX(picture, gap.from));
    const to = Math.min(width, toX(picture, gap.to));
    if (to <= from) continue;
    context.fillStyle = colours.sunken;
    context.fillRect(from, HEAD, to - from, height - HEAD);
    context.save();
    context.beginPath();
    context.rect(from, HEAD, to - from, height - HEAD);
    context.clip();
    context.strokeStyle = colours.line;
    context.lineWidth = 1;
    context.beginPath();
    for (let x = from - height; x < to; x += 10) {
      context.moveTo(x, height);
      context.lineTo(x + height, 0);
    }
    context.stroke();
    context.restore();
  }
}

function ticks(picture: Picture): { at: number; text: string }[] {
  const { axis, view, width } = picture;
  return axis.ticks(toTime(picture, 0), toTime(picture, width), width / (view.to - view.from));
}

export function drawHead(context: CanvasRenderingContext2D, picture: Picture): void {
  const { colours, width, axis } = picture;
  context.fillStyle = colours.sunken;
  context.fillRect(0, 0, width, HEAD);
  context.fillStyle = colours.soft;
  for (const { at, text } of ticks(picture)) {
    const x = Math.round(toX(picture, at));
    context.fillRect(x, AXIS - 5, 1, 5);
    context.fillText(text, x + 4, AXIS / 2);
  }
  for (const gap of axis.gaps) {
    const from = toX(picture, gap.from);
    const to = toX(picture, gap.to);
    const short = duration((gap.to - gap.from) / 1000);
    const text = to - from > widthOf(`${short} idle`) ? `${short} idle` : short;
    context.fillStyle = colours.sunken;
    context.fillRect(from, 0, to - from, AXIS);
    context.fillStyle = colours.soft;
    if (to - from > widthOf(text)) context.fillText(text, (from + to) / 2 - widthOf(text) / 2, AXIS / 2);
  }
  drawBands(context, picture);
  context.fillStyle = colours.line;
  context.fillRect(0, HEAD - 1, width, 1);
  if (picture.going) drawNow(context, picture);
}

function drawBands(context: CanvasRenderingContext2D, picture: Picture): void {
  const { colours, width, root } = picture;
  const { states } = root;
  let attempt = 0;
  for (let n = 0; n < states.length; n++) {
    const state = states[n];
    if (!state) continue;
    if (state.type === 'RUNNING' && states[n - 1]?.type !== 'RUNNING') attempt++;
    const next = states[n + 1];
    const x = Math.max(0, toX(picture, state.at));
    // What it has become stays for good.
    const right = Math.min(width, next ? toX(picture, next.at) : picture.going ? toX(picture, picture.now) : width);
    if (right - x < 0.5) continue;
    const code = CODES[state.type];
    context.fillStyle = colours.tint[code] as string;
    context.fillRect(x, AXIS, right - x, BAND);
    context.fillStyle = colours.solid[code] as string;
    context.fillRect(x, AXIS, Math.min(2, right - x), BAND);
    const text = state.type === 'RUNNING' && attempt > 1 ? `${state.name}, attempt ${attempt}` : state.name;
    if (right - x < 22 || !STATE_TYPES[code]) continue;
    drawShape(context, code, x + 6, AXIS + BAND / 2 - 6, 12, colours.solid[code] as string);
    context.fillStyle = colours.text;
    context.fillText(shortened(text, right - x - 26), x + 22, AXIS + BAND / 2 + 0.5);
  }
}

function drawNow(context: CanvasRenderingContext2D, picture: Picture): void {
  const x = Math.round(toX(picture, picture.now));
  if (x < 0 || x > picture.width) return;
  context.fillStyle = picture.colours.solid[CODES.RUNNING] as string;
  context.fillRect(x, AXIS, 1.5, picture.height - AXIS);
  context.beginPath();
  context.moveTo(x - 4, AXIS - 6);
  context.lineTo(x + 5, AXIS - 6);
  context.lineTo(x + 0.5, AXIS + 1);
  context.fill();
}
