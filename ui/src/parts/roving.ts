// One stop of the Tab key for many small marks; the arrow keys go from one to the next.

const MARK = '[data-mark]';

/** Attached to what holds marks (`data-mark`). Up and down go to the mark of the same place in the next row (`data-row`). */
export function roving(container: HTMLElement): () => void {
  const rowOf = (mark: Element): Element => mark.closest('[data-row]') ?? container;
  const marksOf = (row: Element): HTMLElement[] => [...row.querySelectorAll<HTMLElement>(MARK)];

  function next(mark: HTMLElement, key: string): HTMLElement | undefined {
    const row = rowOf(mark);
    const marks = marksOf(row);
    const place = marks.indexOf(mark);
    if (key === 'ArrowLeft') return marks[place - 1];
    if (key === 'ArrowRight') return marks[place + 1];
    if (key === 'Home') return marks[0];
    if (key === 'End') return marks.at(-1);
    const rows = [...container.querySelectorAll('[data-row]')];
    const step = key === 'ArrowUp' ? -1 : key === 'ArrowDown' ? 1 : 0;
    if (step === 0) return undefined;
    const column = mark.dataset['mark'];
    for (let n = rows.indexOf(row) + step; n >= 0 && n < rows.length; n += step) {
      const others = marksOf(rows[n] as Element);
      if (others.length > 0) return others.find((other) => other.dataset['mark'] === column) ?? others.at(-1);
    }
    return undefined;
  }

  function onkeydown(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const mark = (event.target as Element).closest<HTMLElement>(MARK);
    const wanted = mark && next(mark, event.key);
    if (!wanted) return;
    event.preventDefault();
    wanted.focus();
  }

  function onfocusin(event: FocusEvent): void {
    const mark = (event.target as Element).closest<HTMLElement>(MARK);
    if (!mark) return;
    for (const other of container.querySelectorAll<HTMLElement>(MARK)) other.tabIndex = other === mark ? 0 : -1;
  }

  container.addEventListener('keydown', onkeydown);
  container.addEventListener('focusin', onfocusin);
  return () => {
    container.removeEventListener('keydown', onkeydown);
    container.removeEventListener('focusin', onfocusin);
  };
}
