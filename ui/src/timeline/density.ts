// How many runs of a task were running when, by what became of them: exact for any span of time, in the time of four searches.
import { CODES, type Graph } from './model';

/** What became of them, from the bottom of the drawing to its top. */
export const KINDS = ['FAILED', 'CANCELLED', 'RUNNING', 'COMPLETED'] as const;

const KIND_OF = new Uint8Array(9).fill(1);
KIND_OF[CODES.FAILED] = KIND_OF[CODES.CRASHED] = 0;
KIND_OF[CODES.RUNNING] = 2;
KIND_OF[CODES.COMPLETED] = 3;

const PIECES = 300;

/** Moments in order, and for each the sum of those before it: so the time since all of them is known without visiting each. */
class Moments {
  private readonly sums: Float64Array;

  constructor(private readonly sorted: Float64Array) {
    sorted.sort();
    this.sums = new Float64Array(sorted.length + 1);
    for (let n = 0; n < sorted.length; n++) this.sums[n + 1] = (this.sums[n] as number) + (sorted[n] as number);
  }

  /** The time that has gone by since each that was before, taken together. */
  since(time: number): number {
    let low = 0;
    let high = this.sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.sorted[middle] as number) <= time) low = middle + 1;
      else high = middle;
    }
    return low * time - (this.sums[low] as number);
  }
}

export class Density {
  /** The most that ran at once, on average of a small part of the whole. */
  peak = 0;
  version = -1;
  private readonly starts: Moments[] = [];
  private readonly ends: Moments[] = [];

  /** Looks at the runs again. */
  update(graph: Graph, members: Iterable<number>, version: number): void {
    this.version = version;
    const starts: number[][] = KINDS.map(() => []);
    const ends: number[][] = KINDS.map(() => []);
    let first = Infinity;
    let last = -Infinity;
    for (const node of members) {
      const start = graph.start[node] as number;
      if (Number.isNaN(start)) continue;
      const end = graph.end[node] as number;
      const kind = KIND_OF[graph.state[node] as number] as number;
      starts[kind]?.push(start);
      if (!Number.isNaN(end)) ends[kind]?.push(end);
      first = Math.min(first, start);
      last = Math.max(last, Number.isNaN(end) ? start : end);
    }
    for (let kind = 0; kind < KINDS.length; kind++) {
      this.starts[kind] = new Moments(Float64Array.from(starts[kind] as number[]));
      this.ends[kind] = new Moments(Float64Array.from(ends[kind] as number[]));
    }
    this.peak = this.highest(first, last);
  }

  /** For how long runs of a kind had been running until then, taken together; the difference of two is what lies between. */
  worked(kind: number, until: number): number {
    return (this.starts[kind] as Moments).since(until) - (this.ends[kind] as Moments).since(until);
  }

  private highest(first: number, last: number): number {
    const width = (last - first) / PIECES;
    if (!(width > 0)) return 1;
    let peak = 0;
    let before = 0;
    for (let piece = 1; piece <= PIECES; piece++) {
      let worked = 0;
      for (let kind = 0; kind < KINDS.length; kind++) worked += this.worked(kind, first + piece * width);
      peak = Math.max(peak, (worked - before) / width);
      before = worked;
    }
    return peak;
  }
}
