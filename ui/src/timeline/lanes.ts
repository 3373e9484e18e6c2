// Packs bars into lanes so that none covers another: a bar takes the first lane that is free when it begins.

/** Where bars begin and end; an end that is not a number is not known yet. */
export interface Bars {
  start: Float64Array;
  end: Float64Array;
  /** The lane of each, written by us. */
  lane: Int32Array;
}

export class Lanes {
  /** The bars of each lane, by their start. */
  readonly lanes: number[][] = [];

  constructor(
    private readonly bars: () => Bars,
    /** The space left behind each bar, for its name. */
    private readonly gap = 0,
    /** Where a bar is taken to begin that has no start. */
    private readonly begin: (bar: number) => number = (bar) => this.bars().start[bar] as number,
  ) {}

  /** Packs all of these anew. */
  pack(members: readonly number[]): void {
    this.lanes.length = 0;
    const { lane } = this.bars();
    for (const bar of members) lane[bar] = -1;
    const known = members.filter((bar) => !Number.isNaN(this.begin(bar)));
    known.sort((a, b) => this.begin(a) - this.begin(b) || a - b);
    const busy = new Heap((a: { until: number; lane: number }, b) => a.until < b.until);
    const free = new Heap((a: number, b: number) => a < b);
    for (const bar of known) {
      const begin = this.begin(bar);
      for (let first = busy.first; first !== undefined && first.until <= begin; first = busy.first) {
        busy.pop();
        free.push(first.lane);
      }
      const chosen = free.pop() ?? this.lanes.push([]) - 1;
      this.lanes[chosen]?.push(bar);
      lane[bar] = chosen;
      busy.push({ until: this.until(bar), lane: chosen });
    }
  }

  /** Finds a place for a bar that is new, or begins at another time than it did; the others stay where they are. */
  place(bar: number): void {
    this.remove(bar);
    const begin = this.begin(bar);
    if (Number.isNaN(begin)) return;
    const { lane } = this.bars();
    for (let n = 0; n < this.lanes.length; n++) {
      const members = this.lanes[n] as number[];
      const at = this.after(members, begin);
      const before = members[at - 1];
      const next = members[at];
      if (before !== undefined && this.until(before) > begin) continue;
      if (next !== undefined && this.until(bar) > this.begin(next)) continue;
      members.splice(at, 0, bar);
      lane[bar] = n;
      return;
    }
    lane[bar] = this.lanes.push([bar]) - 1;
  }

  remove(bar: number): void {
    const { lane } = this.bars();
    const members = this.lanes[lane[bar] as number];
    const at = members?.lastIndexOf(bar) ?? -1;
    if (at >= 0) members?.splice(at, 1);
    lane[bar] = -1;
  }

  /** The place in a lane of the first bar that may be seen from this time on: the one that goes on then, or the next. */
  firstSeen(lane: readonly number[], from: number): number {
    return Math.max(0, this.after(lane, from) - 1);
  }

  /** The bar of a lane nearest to a time, if it is at most `reach` away. */
  at(lane: readonly number[], time: number, reach: number): number | null {
    const place = this.after(lane, time);
    let best: number | null = null;
    let distance = reach;
    for (const bar of [lane[place - 1], lane[place]]) {
      if (bar === undefined) continue;
      const begin = this.begin(bar);
      const away = time < begin ? begin - time : Math.max(0, time - this.ending(bar));
      if (away <= distance) {
        best = bar;
        distance = away;
      }
    }
    return best;
  }

  private ending(bar: number): number {
    const end = this.bars().end[bar] as number;
    return Number.isNaN(end) ? Infinity : end;
  }

  private until(bar: number): number {
    return this.ending(bar) + this.gap;
  }

  /** The place of the first bar that begins after this time. */
  private after(lane: readonly number[], time: number): number {
    let low = 0;
    let high = lane.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.begin(lane[middle] as number) <= time) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

class Heap<T> {
  private readonly items: T[] = [];

  constructor(private readonly before: (a: T, b: T) => boolean) {}

  get first(): T | undefined {
    return this.items[0];
  }

  push(item: T): void {
    const { items, before } = this;
    let place = items.push(item) - 1;
    while (place > 0) {
      const above = (place - 1) >> 1;
      if (!before(item, items[above] as T)) break;
      items[place] = items[above] as T;
      place = above;
    }
    items[place] = item;
  }

  pop(): T | undefined {
    const { items, before } = this;
    const first = items[0];
    const item = items.pop();
    if (item === undefined || items.length === 0) return first;
    let place = 0;
    for (;;) {
      let below = 2 * place + 1;
      if (below >= items.length) break;
      if (below + 1 < items.length && before(items[below + 1] as T, items[below] as T)) below++;
      if (!before(items[below] as T, item)) break;
      items[place] = items[below] as T;
      place = below;
    }
    items[place] = item;
    return first;
  }
}
