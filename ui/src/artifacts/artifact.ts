// What artifacts hold, by their kind. Markdown is shown as the text it is: nothing that a run made becomes part of the page.
import type * as schema from '../api/schema';

export type Artifact = Required<schema.Artifact>;

export type Content =
  | { kind: 'text'; text: string }
  | { kind: 'table'; columns: string[]; rows: string[][] }
  | { kind: 'link'; href: string; text: string }
  | { kind: 'progress'; percent: number }
  | { kind: 'json'; value: unknown };

/** How an artifact is shown. */
export function contentOf(artifact: Pick<Artifact, 'type' | 'data'>): Content {
  const { data } = artifact;
  const given = typeof data === 'string' ? parsed(data) : data;
  if (artifact.type === 'progress' && typeof data === 'number')
    return { kind: 'progress', percent: Math.min(100, Math.max(0, data)) };
  if (artifact.type === 'image' && typeof data === 'string') return linked(data, data) ?? { kind: 'text', text: data };
  if (artifact.type === 'table') return table(given) ?? { kind: 'json', value: given };
  if (typeof data === 'string') return onlyLink(data) ?? { kind: 'text', text: data };
  return { kind: 'json', value: data };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

function table(data: unknown): Content | null {
  if (Array.isArray(data) && data.every((row) => Array.isArray(row))) {
    const width = Math.max(0, ...data.map((row: unknown[]) => row.length));
    return {
      kind: 'table',
      columns: Array.from({ length: width }, (_, n) => `${n + 1}`),
      rows: data.map((row: unknown[]) => row.map(cell)),
    };
  }
  if (Array.isArray(data) && data.every((row) => typeof row === 'object' && row !== null)) {
    const records = data as Record<string, unknown>[];
    const columns = [...new Set(records.flatMap((record) => Object.keys(record)))];
    return { kind: 'table', columns, rows: records.map((record) => columns.map((column) => cell(record[column]))) };
  }
  if (typeof data === 'object' && data !== null && Object.values(data).every(Array.isArray)) {
    const byColumn = data as Record<string, unknown[]>;
    const columns = Object.keys(byColumn);
    const length = Math.max(0, ...Object.values(byColumn).map((column) => column.length));
    const rows = Array.from({ length }, (_, n) => columns.map((column) => cell(byColumn[column]?.[n])));
    return { kind: 'table', columns, rows };
  }
  return null;
}

function cell(value: unknown): string {
  if (value === undefined || value === null) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Text that is one link in Markdown and nothing else, as link artifacts are. */
function onlyLink(text: string): Content | null {
  const found = /^\s*\[([^\]]*)\]\(([^()\s]+)\)\s*$/.exec(text);
  return found?.[2] === undefined ? null : linked(found[2], found[1] || found[2]);
}

/** Only to where a click is harmless: never `javascript:`. */
function linked(href: string, text: string): Content | null {
  return /^https?:\/\//i.test(href) ? { kind: 'link', href, text } : null;
}
