// Rectangles and texts collected while what is seen is gone through, and drawn together, colour by colour. Nothing is allocated for a frame.
import { STATE_SHAPES, FILLED } from '../parts/states';
import { STATE_TYPES } from '../api/types';

const FIRST_CAPACITY = 512;

/** Rectangles of one colour. */
export class Rectangles {
  private values = new Float32Array(FIRST_CAPACITY * 4);
  private count = 0;

  add(x: number, y: number, width: number, height: number): void {
    const at = this.count * 4;
    if (at >= this.values.length) {
      const grown = new Float32Array(this.values.length * 2);
      grown.set(this.values);
      this.values = grown;
    }
    this.values[at] = x;
    this.values[at + 1] = y;
    this.values[at + 2] = width;
    this.values[at + 3] = height;
    this.count++;
  }

  /** Draws them all, and forgets them. */
  fill(context: CanvasRenderingContext2D, colour: string): void {
    if (this.count === 0) return;
    context.fillStyle = colour;
    const { values } = this;
    for (let at = 0; at < this.count * 4; at += 4)
      context.fillRect(values[at] as number, values[at + 1] as number, values[at + 2] as number, values[at + 3] as number);
    this.count = 0;
  }
}

const SHAPES = STATE_TYPES.map((type) => ({ path: new Path2D(STATE_SHAPES[type]), filled: FILLED.has(type), type }));

/** The shape of a state, in a square of this size. */
export function drawShape(
  context: CanvasRenderingContext2D,
  state: number,
  x: number,
  y: number,
  size: number,
  colour: string,
): void {
  const shape = SHAPES[state];
  if (!shape) return;
  context.save();
  context.translate(x, y);
  context.scale(size / 16, size / 16);
  context.lineWidth = shape.type === 'PENDING' ? 2.6 : 2.1;
  context.lineCap = context.lineJoin = 'round';
  context.strokeStyle = context.fillStyle = colour;
  if (shape.filled) context.fill(shape.path);
  context.stroke(shape.path);
  context.restore();
}

const CHARACTER = 6.7;

/** As much of a text as has room, about; nothing where that says nothing. */
export function shortened(text: string, room: number): string {
  const most = Math.floor(room / CHARACTER);
  if (text.length <= most) return text;
  return most < 4 ? '' : `${text.slice(0, most - 1)}…`;
}

export function widthOf(text: string): number {
  return text.length * CHARACTER;
}
