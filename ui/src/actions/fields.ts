// The fields of a form that a JSON schema of parameters asks for, and what people write into them.
import { parsed, type Parsed } from './json';

export type Schema = Record<string, unknown>;

type Kind = 'text' | 'integer' | 'number' | 'boolean' | 'enum' | 'date-time' | 'date' | 'json';

export interface Field {
  name: string;
  title: string;
  description: string | null;
  kind: Kind;
  /** Of an enum: what may be chosen. */
  options: readonly unknown[];
  nullable: boolean;
  minimum: number | null;
  maximum: number | null;
  /** What the form begins with, as text. */
  before: string;
  /** Whether it begins as null. */
  beforeIsNull: boolean;
}

/** What is written into one field. */
export interface Draft {
  text: string;
  isNull: boolean;
}

/** The fields of the parameters, in their order; one for each value that the schema does not know, too. */
export function fieldsOf(schema: Schema, values: Record<string, unknown>): Field[] {
  const properties = record(schema['properties']);
  const names = Object.keys(properties).sort((a, b) => byPosition(properties[a], properties[b]));
  const unknown = Object.keys(values).filter((name) => !(name in properties));
  return [...names, ...unknown].map((name) => fieldOf(name, record(properties[name]), schema, values));
}

export function draftOf(field: Field): Draft {
  return { text: field.before, isNull: field.beforeIsNull };
}

function fieldOf(name: string, asked: Schema, whole: Schema, values: Record<string, unknown>): Field {
  const { schema, nullable } = plain(resolved(asked, whole), whole);
  const kind = kindOf(schema);
  const known = name in values ? values[name] : (asked['default'] ?? schema['default']);
  const beforeIsNull = known === null && nullable && kind !== 'json';
  // A value that its own schema does not fit is shown as it is.
  const fits = known === undefined || known === null || kind === 'json' || fitting(kind, known);
  const shownAs = fits && !(known === null && !nullable) ? kind : 'json';
  return {
    name,
    title: text(asked['title']) ?? text(schema['title']) ?? name,
    description: text(asked['description']) ?? text(schema['description']),
    kind: shownAs,
    options: shownAs === 'enum' ? (schema['enum'] as unknown[]) : [],
    nullable: nullable && shownAs !== 'json',
    minimum: numeric(schema['minimum']),
    maximum: numeric(schema['maximum']),
    before: beforeIsNull ? '' : written(shownAs, known),
    beforeIsNull,
  };
}

function kindOf(schema: Schema): Kind {
  if (Array.isArray(schema['enum'])) return 'enum';
  switch (schema['type']) {
    case 'string':
      return schema['format'] === 'date-time' || schema['format'] === 'date' ? schema['format'] : 'text';
    case 'integer':
    case 'number':
    case 'boolean':
      return schema['type'];
    default:
      return 'json';
  }
}

function fitting(kind: Kind, value: unknown): boolean {
  if (kind === 'enum') return true;
  if (kind === 'boolean') return typeof value === 'boolean';
  if (kind === 'integer' || kind === 'number') return typeof value === 'number';
  return typeof value === 'string';
}

function written(kind: Kind, value: unknown): string {
  if (value === undefined) return kind === 'boolean' ? 'false' : '';
  if (kind === 'json') return JSON.stringify(value, null, 2);
  if (kind === 'enum') return JSON.stringify(value);
  return String(value);
}

/** What a draft says, or what is wrong with it. */
export function valueOf(field: Field, draft: Draft): Parsed<unknown> {
  if (draft.isNull) return { value: null };
  const { text: said } = draft;
  switch (field.kind) {
    case 'text':
      return { value: said };
    case 'boolean':
      return { value: said === 'true' };
    case 'enum':
    case 'json':
      return said.trim() ? parsed(said) : { error: field.kind === 'json' ? 'JSON is needed here.' : 'Choose one.' };
    case 'integer':
    case 'number':
      return numberFrom(field, said.trim());
    default:
      return Number.isNaN(Date.parse(said)) ? { error: 'A time is needed here: 2026-11-23T09:30:00Z.' } : { value: said };
  }
}

function numberFrom(field: Field, said: string): Parsed<number> {
  const value = Number(said);
  if (!said || !Number.isFinite(value)) return { error: 'A number is needed here.' };
  if (field.kind === 'integer' && !Number.isSafeInteger(value)) {
    return { error: Number.isInteger(value) ? 'A browser cannot write so large a number.' : 'A whole number is needed here.' };
  }
  if (field.minimum !== null && value < field.minimum) return { error: `At least ${field.minimum}.` };
  if (field.maximum !== null && value > field.maximum) return { error: `At most ${field.maximum}.` };
  return { value };
}

/** Whether something else is written than the form began with. */
export function isChanged(field: Field, draft: Draft): boolean {
  return draft.isNull !== field.beforeIsNull || (!draft.isNull && draft.text !== field.before);
}

function resolved(schema: Schema, whole: Schema): Schema {
  const reference = text(schema['$ref']);
  if (reference === null) {
    const parts = schema['allOf'];
    return Array.isArray(parts) && parts.length === 1 ? { ...resolved(record(parts[0]), whole), ...schema } : schema;
  }
  const path = reference.replace(/^#\//, '').split('/');
  const found = path.reduce<unknown>((part, name) => record(part)[name], whole);
  return { ...record(found), ...schema };
}

/** `X or null` without the null. */
function plain(schema: Schema, whole: Schema): { schema: Schema; nullable: boolean } {
  const choices = schema['anyOf'] ?? schema['oneOf'];
  if (!Array.isArray(choices)) {
    const types = schema['type'];
    if (!Array.isArray(types)) return { schema, nullable: false };
    const rest = types.filter((type) => type !== 'null');
    return { schema: { ...schema, type: rest.length === 1 ? rest[0] : undefined }, nullable: rest.length < types.length };
  }
  const rest = choices.filter((choice) => record(choice)['type'] !== 'null');
  const one = rest.length === 1 ? { ...resolved(record(rest[0]), whole), ...schema } : {};
  return { schema: one, nullable: rest.length < choices.length };
}

function byPosition(one: unknown, other: unknown): number {
  const place = (schema: unknown): number => numeric(record(schema)['position']) ?? Number.MAX_SAFE_INTEGER;
  return place(one) - place(other);
}

function record(value: unknown): Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Schema) : {};
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

function numeric(value: unknown): number | null {
  return typeof value === 'number' ? value : null;
}
