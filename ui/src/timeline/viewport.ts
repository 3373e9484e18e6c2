// Which part of something is seen, along one direction: zooming and panning it, never out of sight.

export interface View {
  from: number;
  to: number;
}

export interface Bounds extends View {
  /** The shortest part that one may look at. */
  least: number;
}

// So much beside the whole is seen when all of it is.
const MARGIN = 0.02;

export function fitted(bounds: Bounds): View {
  const length = Math.max(bounds.to - bounds.from, bounds.least);
  return { from: bounds.from - length * MARGIN, to: bounds.from + length * (1 + MARGIN) };
}

/** Makes the seen part `factor` times as long; what is at `at` stays where it is. */
export function zoomed(view: View, factor: number, at: number, bounds: Bounds): View {
  const whole = fitted(bounds);
  const length = view.to - view.from;
  const wanted = Math.min(Math.max(length * factor, bounds.least), whole.to - whole.from);
  const from = at - ((at - view.from) / length) * wanted;
  return kept({ from, to: from + wanted }, bounds);
}

export function panned(view: View, by: number, bounds: Bounds): View {
  return kept({ from: view.from + by, to: view.to + by }, bounds);
}

/** Moves the seen part, if need be, so that it lies within the whole; makes it shorter if it is longer than that. */
export function kept(view: View, bounds: Bounds): View {
  const whole = fitted(bounds);
  const length = Math.min(Math.max(view.to - view.from, bounds.least), whole.to - whole.from);
  const from = Math.min(Math.max(view.from, whole.from), whole.to - length);
  return { from, to: from + length };
}

/** Moves the seen part as little as is needed for something to be seen. */
export function showing(view: View, thing: View, bounds: Bounds): View {
  const length = view.to - view.from;
  const margin = length * 0.1;
  if (thing.from >= view.from && thing.from <= view.to - margin) return view;
  return kept({ from: thing.from - margin, to: thing.from - margin + length }, bounds);
}

/** Whether all of it is seen. */
export function isWhole(view: View, bounds: Bounds): boolean {
  const whole = fitted(bounds);
  return view.to - view.from >= (whole.to - whole.from) * 0.999;
}
