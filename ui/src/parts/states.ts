// How states look: each has a colour and, for those who cannot tell colours apart, a shape.
import type { StateType } from '../api/types';

/** The shape of each state, drawn with lines in a square of 16. */
export const STATE_SHAPES: Record<StateType, string> = {
  COMPLETED: 'M3.5 8.5l3 3 6-7',
  FAILED: 'M4 4l8 8M12 4l-8 8',
  CRASHED: 'M9 1.5L4.5 8.5h6L7 14.5',
  RUNNING: 'M5 3.2v9.6L12.5 8z',
  PENDING: 'M3.5 8h.01M8 8h.01M12.5 8h.01',
  SCHEDULED: 'M8 4.5V8l2.5 2M14 8A6 6 0 112 8a6 6 0 0112 0z',
  PAUSED: 'M5.5 3.5v9M10.5 3.5v9',
  CANCELLING: 'M3.5 8h9M14 8A6 6 0 112 8a6 6 0 0112 0z',
  CANCELLED: 'M3.8 12.2l8.4-8.4M14 8A6 6 0 112 8a6 6 0 0112 0z',
};

/** Of these the shape is filled. */
export const FILLED: ReadonlySet<StateType> = new Set(['RUNNING']);

/** The name of the colour in theme.css. */
export function stateColour(type: StateType | null): string {
  return `var(--${(type ?? 'PENDING').toLowerCase()})`;
}

/** A state's type as people read it. */
export function stateWord(type: StateType): string {
  return type.charAt(0) + type.slice(1).toLowerCase();
}
