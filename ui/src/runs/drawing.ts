// Draws the strip.
import { STATE_TYPES, type StateType } from '../api/types';
import { FILLED, STATE_SHAPES } from '../parts/states';
import { duration } from '../parts/times';
import { durationTicks, timeTicks, x, y, type Dot, type View } from './strip';

/** Space for what is written at the left and below. */
export const LEFT = 52;
export const BELOW = 20;

const RADIUS = 3;
const SHAPE = 11;
const DAY = 86_400_000;

export type Colours = Record<'line' | 'soft' | StateType, string>;

/** The colours as they are at this moment, in this theme. */
export function coloursOf(element: Element): Colours {
  const style = getComputedStyle(element);
  const named = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  const states = STATE_TYPES.map((type) => [type, named(type.toLowerCase())]);
  return { ...Object.fromEntries(states), line: named('line'), soft: named('text-soft') } as Colours;
}

export function draw(
  context: CanvasRenderingContext2D,
  view: View,
  dots: readonly Dot[],
  colours: Colours,
  utc: boolean,
): void {
  const ratio = devicePixelRatio;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, view.width + LEFT, view.height + BELOW);
  context.font = '11px system-ui, sans-serif';
  if (dots.length > 0) drawAxes(context, view, colours, utc);
  context.save();
  context.beginPath();
  context.rect(LEFT, 0, view.width, view.height + RADIUS);
  context.clip();
  // What went well lies below what did not.
  for (const dot of dots) if (dot.type === 'COMPLETED') drawDot(context, view, dot, colours);
  for (const dot of dots) if (dot.type !== 'COMPLETED') drawDot(context, view, dot, colours);
  context.restore();
}

function drawAxes(context: CanvasRenderingContext2D, view: View, colours: Colours, utc: boolean): void {
  context.strokeStyle = colours.line;
  context.fillStyle = colours.soft;
  context.lineWidth = 1;
  context.textAlign = 'right';
  context.textBaseline = 'middle';
  for (const seconds of durationTicks(view)) {
    const top = Math.round(y(view, seconds)) + 0.5;
    line(context, LEFT, top, LEFT + view.width, top);
    context.fillText(duration(seconds).replace(/ 00 [sm]$|\.\d+/, ''), LEFT - 8, Math.min(Math.max(top, 7), view.height - 5));
  }
  const offset = utc ? 0 : -new Date(view.to).getTimezoneOffset() * 60_000;
  const { step, moments } = timeTicks(view, offset);
  context.textAlign = 'center';
  context.textBaseline = 'top';
  line(context, LEFT, view.height + 0.5, LEFT + view.width, view.height + 0.5);
  for (const moment of moments) {
    const left = Math.round(LEFT + x(view, moment)) + 0.5;
    line(context, left, view.height, left, view.height + 4);
    const text = written(moment + offset, step);
    const half = context.measureText(text).width / 2;
    context.fillText(text, Math.min(Math.max(left, LEFT + half), LEFT + view.width - half), view.height + 6);
  }
}

function line(context: CanvasRenderingContext2D, fromX: number, fromY: number, toX: number, toY: number): void {
  context.beginPath();
  context.moveTo(fromX, fromY);
  context.lineTo(toX, toY);
  context.stroke();
}

/** A moment that is shifted to its zone: the day where a day begins, else the time of day. */
function written(shifted: number, step: number): string {
  const text = new Date(shifted).toISOString();
  if (step >= DAY || shifted % DAY === 0) return text.slice(0, 10);
  return step < 60_000 ? text.slice(11, 19) : text.slice(11, 16);
}

const SHAPES = new Map<StateType, Path2D>();

function shapeOf(type: StateType): Path2D {
  const made = SHAPES.get(type) ?? new Path2D(STATE_SHAPES[type]);
  SHAPES.set(type, made);
  return made;
}

function drawDot(context: CanvasRenderingContext2D, view: View, dot: Dot, colours: Colours): void {
  const [left, top] = [LEFT + x(view, dot.at), y(view, dot.seconds)];
  context.fillStyle = context.strokeStyle = colours[dot.type];
  if (dot.type === 'COMPLETED') {
    context.globalAlpha = 0.6;
    context.beginPath();
    context.arc(left, top, RADIUS, 0, 2 * Math.PI);
    context.fill();
    context.globalAlpha = 1;
    return;
  }
  context.save();
  context.translate(left - SHAPE / 2, top - SHAPE / 2);
  context.scale(SHAPE / 16, SHAPE / 16);
  context.lineWidth = 3;
  context.lineCap = 'round';
  if (FILLED.has(dot.type)) context.fill(shapeOf(dot.type));
  else context.stroke(shapeOf(dot.type));
  context.restore();
}
