// What the palette offers by itself: pages, switches, actions.
export interface Entry {
  id: string;
  text: string;
  hint?: string;
  run: () => void;
}

/** Those entries of which every word occurs in what they say, in this order. */
export function matching(entries: readonly Entry[], words: string): Entry[] {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  return entries.filter(({ text, hint = '' }) => {
    const said = `${text} ${hint}`.toLowerCase();
    return wanted.every((word) => said.includes(word));
  });
}
