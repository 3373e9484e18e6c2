// Finding text in the lines of a log.

/** The places among `chosen` whose message has `text` in it, whatever its case. */
export function matches(messages: readonly string[], chosen: readonly number[], text: string): number[] {
  if (!text) return [];
  const wanted = text.toLowerCase();
  const found: number[] = [];
  for (let place = 0; place < chosen.length; place++)
    if ((messages[chosen[place] ?? 0] ?? '').toLowerCase().includes(wanted)) found.push(place);
  return found;
}

/** The next (or previous) of `places`, which ascend, after `from`; from the other end if there is none. */
export function nextOf(places: readonly number[], from: number, step: 1 | -1): number | null {
  if (places.length === 0) return null;
  if (step === 1) return places.find((place) => place > from) ?? places[0] ?? null;
  return places.findLast((place) => place < from) ?? places.at(-1) ?? null;
}

/** `message` in pieces; every second one is what was looked for. */
export function pieces(message: string, text: string): string[] {
  if (!text) return [message];
  const [low, wanted] = [message.toLowerCase(), text.toLowerCase()];
  // Of a few letters the small form is longer: then the places do not fit.
  if (low.length !== message.length) return [message];
  const found: string[] = [];
  let from = 0;
  for (let at = low.indexOf(wanted); at !== -1; at = low.indexOf(wanted, from)) {
    found.push(message.slice(from, at), message.slice(at, at + wanted.length));
    from = at + wanted.length;
  }
  found.push(message.slice(from));
  return found;
}
