// Long lists: only the rows that are seen are in the document. The rows stand in the normal flow of a block that is moved to where they belong.
import { elementScroll, observeElementOffset, observeElementRect, Virtualizer, type VirtualItem } from '@tanstack/virtual-core';
import type { Attachment } from 'svelte/attachments';

interface Options {
  count: number;
  /** The height of a row in pixels, as far as it is known before it is drawn. */
  estimate: (index: number) => number;
  key?: (index: number) => string | number;
  /** Stays at the end when rows are added there, as long as the end is what is seen. */
  follow?: boolean;
}

/** The rows of a scrolling element that are seen. */
export class VirtualList {
  rows = $state.raw<VirtualItem[]>([]);
  /** The height of all rows. */
  height = $state(0);
  atEnd = $state(true);
  #element: HTMLElement | null = null;
  #options: Options = { count: 0, estimate: () => 20 };
  readonly #virtualizer: Virtualizer<HTMLElement, HTMLElement>;

  constructor() {
    this.#virtualizer = new Virtualizer<HTMLElement, HTMLElement>(this.#all());
  }

  /** Attach to the element that scrolls. */
  readonly scroller: Attachment<HTMLElement> = (element) => {
    this.#element = element;
    const unmount = this.#virtualizer._didMount();
    this.#update();
    return () => {
      unmount();
      this.#element = null;
    };
  };

  /** Attach to each row, which has `data-index`. */
  readonly row: Attachment<HTMLElement> = (element) => {
    this.#virtualizer.measureElement(element);
  };

  /** How far down the first row that is in the document stands. */
  get top(): number {
    return this.rows[0]?.start ?? 0;
  }

  set(options: Options): void {
    this.#options = options;
    this.#update();
  }

  /** Forgets the heights of rows: they are shown in another way. */
  measure(): void {
    this.#virtualizer.measure();
  }

  show(index: number, align: 'auto' | 'center' | 'start' = 'auto'): void {
    this.#virtualizer.scrollToIndex(index, { align });
  }

  /** Whether a row is in sight, or nearly so. */
  shows(index: number): boolean {
    const range = this.#virtualizer.range;
    return range !== null && index >= range.startIndex && index <= range.endIndex;
  }

  showEnd(): void {
    this.#virtualizer.scrollToEnd();
  }

  #update(): void {
    this.#virtualizer.setOptions(this.#all());
    this.#virtualizer._willUpdate();
    this.#changed();
  }

  #changed(): void {
    this.rows = this.#virtualizer.getVirtualItems();
    this.height = this.#virtualizer.getTotalSize();
    this.atEnd = this.#virtualizer.isAtEnd(END);
  }

  #all(): ConstructorParameters<typeof Virtualizer<HTMLElement, HTMLElement>>[0] {
    const { count, estimate, key, follow = false } = this.#options;
    return {
      count,
      estimateSize: estimate,
      getScrollElement: () => this.#element,
      observeElementRect,
      observeElementOffset,
      scrollToFn: elementScroll,
      overscan: 12,
      onChange: () => this.#changed(),
      ...(key ? { getItemKey: key } : {}),
      anchorTo: follow ? 'end' : 'start',
      followOnAppend: follow,
      scrollEndThreshold: END,
    };
  }
}

// That near to the end counts as being there.
const END = 24;
