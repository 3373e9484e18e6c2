// The runs that are listed, kept in order while things happen to them.
import type { FlowRun } from '../api/types';

/** What a list shows, and what it holds back so that nothing moves under the mouse. */
export interface Listed {
  /** In order. */
  runs: readonly FlowRun[];
  /** Ids of runs that belong to the list and are not shown yet. */
  waiting: ReadonlySet<string>;
  /** There are more on the server after the last one. */
  more: boolean;
}

export const EMPTY: Listed = { runs: [], waiting: new Set(), more: false };

export interface Rules {
  belongs: (run: FlowRun) => boolean;
  order: (one: FlowRun, other: FlowRun) => number;
  /** So many are shown at the most; the rest is read again when it is asked for. */
  most: number;
}

/** A list, and everything that is known of runs that may be in it. */
export class RunList {
  readonly #known = new Map<string, FlowRun>();
  #shown: string[] = [];
  readonly #waiting = new Set<string>();
  #more = false;

  constructor(readonly rules: Rules) {}

  get listed(): Listed {
    const runs = this.#shown.flatMap((id) => this.#known.get(id) ?? []);
    return { runs, waiting: new Set(this.#waiting), more: this.#more };
  }

  get size(): number {
    return this.#shown.length;
  }

  /** Adds what the server has told of the list from a place on. */
  read(runs: readonly FlowRun[], more: boolean): void {
    for (const run of runs) {
      this.#keep(run);
      if (!this.#shown.includes(run.id)) this.#shown.push(run.id);
      this.#waiting.delete(run.id);
    }
    this.#more = more;
    this.settle();
  }

  /** Takes in what has happened. While the list must not move, runs change in their places and the others wait. */
  apply(changed: Iterable<FlowRun>, deleted: Iterable<string>, still: boolean): void {
    for (const run of changed) this.#change(run);
    for (const id of deleted) this.#drop(id);
    if (!still) this.settle();
  }

  /** Everything goes where it belongs. */
  settle(): void {
    const { belongs, order, most } = this.rules;
    const last = this.#more ? this.#lastShown() : null;
    const candidates = new Set([...this.#shown, ...this.#waiting]);
    const runs = [...candidates]
      .flatMap((id) => this.#known.get(id) ?? [])
      .filter((run) => belongs(run))
      .sort(order);
    // What comes after the last one that was read is read later, in its place.
    const upTo = last === null ? runs : runs.filter((run) => order(run, last) <= 0);
    if (upTo.length > most) this.#more = true;
    this.#shown = upTo.slice(0, most).map((run) => run.id);
    this.#waiting.clear();
    const shown = new Set(this.#shown);
    for (const id of this.#known.keys()) if (!shown.has(id)) this.#known.delete(id);
  }

  #lastShown(): FlowRun | null {
    const id = this.#shown.at(-1);
    return (id === undefined ? undefined : this.#known.get(id)) ?? null;
  }

  #change(run: FlowRun): void {
    if (!this.#keep(run) || this.#shown.includes(run.id)) return;
    const last = this.#more ? this.#lastShown() : null;
    if (this.rules.belongs(run) && (last === null || this.rules.order(run, last) <= 0)) {
      this.#waiting.add(run.id);
    } else {
      this.#waiting.delete(run.id);
      this.#known.delete(run.id);
    }
  }

  #drop(id: string): void {
    this.#known.delete(id);
    this.#waiting.delete(id);
    this.#shown = this.#shown.filter((shown) => shown !== id);
  }

  /** Keeps a run unless something newer is known of it. */
  #keep(run: FlowRun): boolean {
    const known = this.#known.get(run.id);
    if (known && Date.parse(known.updated ?? '') > Date.parse(run.updated ?? '')) return false;
    this.#known.set(run.id, run);
    return true;
  }
}
