// The line that runs a flow once more.

/** Executes the file or the module that the flow is in; null where that is not known. */
export function againCommand(entrypoint: string | null): string | null {
  const colon = entrypoint?.lastIndexOf(':') ?? -1;
  if (!entrypoint || colon <= 0) return null;
  const place = entrypoint.slice(0, colon);
  if (!place.endsWith('.py')) return `python -m ${place}`;
  return `python ${/^[\w./~-]+$/.test(place) ? place : `'${place.replaceAll("'", "'\\''")}'`}`;
}
