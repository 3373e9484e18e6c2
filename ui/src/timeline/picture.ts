// Everything that a drawing of the timeline depends on.
import type { Axis } from './axis';
import type { Colours } from './colours';
import type { Edge } from './edges';
import type { Graph } from './model';
import type { Rows, Target } from './rows';
import type { View } from './viewport';

export interface Picture {
  root: Graph;
  rows: Rows;
  axis: Axis;
  view: View;
  /** Of the canvas, and how far what is below its head is scrolled. */
  width: number;
  height: number;
  scroll: number;
  /** Until when what has not ended is drawn. */
  now: number;
  /** The flow run goes on. */
  going: boolean;
  edges: readonly Edge[];
  /** Those of what is pointed at. */
  lit: readonly Edge[];
  hovered: Target | null;
  focused: Target | null;
  selected: Target | null;
  /** What is searched for, if anything: 1 for each node found. */
  hits: Map<Graph, Uint8Array> | null;
  colours: Colours;
}

/** The height of the axis and the states of the flow run above everything else. */
export const AXIS = 22;
export const BAND = 18;
export const HEAD = AXIS + BAND;

export function toX(picture: Picture, time: number): number {
  const { axis, view, width } = picture;
  return ((axis.drawn(time) - view.from) / (view.to - view.from)) * width;
}

export function toTime(picture: Picture, x: number): number {
  const { axis, view, width } = picture;
  return axis.time(view.from + (x / width) * (view.to - view.from));
}
