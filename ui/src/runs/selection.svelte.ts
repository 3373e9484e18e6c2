// Which runs of a list are chosen.

export class Selection {
  ids = $state.raw<ReadonlySet<string>>(new Set());
  #last: string | null = null;

  get size(): number {
    return this.ids.size;
  }

  /** Chooses a run, or not; with the shift key also those between it and the one before. */
  toggle(id: string, order: readonly string[], withRange: boolean): void {
    const chosen = !this.ids.has(id);
    const ids = new Set(this.ids);
    for (const each of withRange ? between(order, this.#last, id) : [id]) {
      if (chosen) ids.add(each);
      else ids.delete(each);
    }
    this.ids = ids;
    this.#last = id;
  }

  set(ids: Iterable<string>): void {
    this.ids = new Set(ids);
  }

  clear(): void {
    this.ids = new Set();
    this.#last = null;
  }

  /** Forgets what is not there any more. */
  keep(there: readonly string[]): void {
    const known = new Set(there);
    if ([...this.ids].some((id) => !known.has(id))) this.ids = new Set([...this.ids].filter((id) => known.has(id)));
  }
}

function between(order: readonly string[], one: string | null, other: string): readonly string[] {
  const places = [one === null ? -1 : order.indexOf(one), order.indexOf(other)].sort((a, b) => a - b);
  const [first = -1, last = -1] = places;
  return first < 0 ? [other] : order.slice(first, last + 1);
}
