// The parameters of a run in short.

const MOST_LINES = 14;
const LONGEST = 160;

/** In one line: `city="Bergen", days=3`. */
export function inLine(parameters: Record<string, unknown>): string {
  return Object.entries(parameters)
    .map(([name, value]) => `${name}=${cut(said(value), LONGEST)}`)
    .join(', ')
    .slice(0, LONGEST);
}

/** A line for each. */
export function inLines(parameters: Record<string, unknown>): string {
  const lines = Object.entries(parameters).map(([name, value]) => `${name} = ${cut(said(value), LONGEST)}`);
  const left = lines.length - MOST_LINES;
  return (left > 0 ? [...lines.slice(0, MOST_LINES), `and ${left} more`] : lines).join('\n');
}

function said(value: unknown): string {
  return JSON.stringify(value) ?? 'null';
}

function cut(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}
