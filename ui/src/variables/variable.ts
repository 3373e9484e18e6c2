// What a variable holds: any JSON, which people may write as plain text.
import type * as schema from '../api/schema';

export type Variable = schema.Variable;

/** A value as a person would write it: text as it is, everything else as JSON. */
export function asText(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** What a person wrote: JSON if it is some (`3`, `true`, `{"a": 1}`, `"3"`), else the text itself. */
export function fromText(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** The same, such that what is saved unchanged is the same value: the text "3" is not the number 3. */
export function forEditing(value: unknown): string {
  const text = asText(value);
  return typeof value === 'string' && fromText(text) !== value ? JSON.stringify(value) : text;
}
