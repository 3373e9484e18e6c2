// JSON that people type, and JSON inside JSON.

export type Parsed<T> = { value: T } | { error: string };

/** What a text says as JSON, or what is wrong with it. */
export function parsed(text: string): Parsed<unknown> {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch (error) {
    return { error: `This is no JSON. ${error instanceof Error ? error.message : ''}`.trim() };
  }
}

/** An object; nothing is an empty one. */
export function objectFrom(text: string): Parsed<Record<string, unknown>> {
  const found = parsed(text.trim() || '{}');
  if ('error' in found) return found;
  const { value } = found;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { error: 'An object is needed here: {"name": value, ...}.' };
  }
  return { value: value as Record<string, unknown> };
}

/** A value that may have come as a text of JSON. */
export function pieceOf(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  const found = parsed(value);
  return 'value' in found ? found.value : value;
}
