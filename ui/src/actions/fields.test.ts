import { describe, expect, it } from 'vitest';
import { draftOf, fieldsOf, isChanged, valueOf, type Field, type Schema } from './fields';

function field(schema: Schema, value?: unknown, whole: Schema = {}): Field {
  const [made] = fieldsOf({ ...whole, properties: { x: schema } }, value === undefined ? {} : { x: value });
  if (!made) throw new Error('no field');
  return made;
}

describe('fieldsOf', () => {
  it('keeps the order of positions, and adds values that the schema does not know', () => {
    const schema = { properties: { b: { position: 1 }, a: { position: 0 } } };
    expect(fieldsOf(schema, { c: 1 }).map(({ name }) => name)).toEqual(['a', 'b', 'c']);
  });

  it.each<[Schema, unknown, string, string]>([
    [{ type: 'string' }, 'a', 'text', 'a'],
    [{ type: 'integer' }, 3, 'integer', '3'],
    [{ type: 'number' }, 0.5, 'number', '0.5'],
    [{ type: 'boolean' }, true, 'boolean', 'true'],
    [{ type: 'string', format: 'date-time' }, '2026-01-01T00:00:00Z', 'date-time', '2026-01-01T00:00:00Z'],
    [{ enum: ['a', 'b'] }, 'b', 'enum', '"b"'],
    [{ type: 'array' }, [1], 'json', '[\n  1\n]'],
    [{}, null, 'json', 'null'],
    [{ type: 'integer' }, 'many', 'json', '"many"'],
    [{ type: 'integer', default: 7 }, undefined, 'integer', '7'],
  ])('%j of %j', (schema, value, kind, text) => {
    const made = field(schema, value);
    expect([made.kind, draftOf(made).text]).toEqual([kind, text]);
    expect(isChanged(made, draftOf(made))).toBe(false);
  });

  it('knows what may be null', () => {
    const made = field({ anyOf: [{ type: 'integer' }, { type: 'null' }] }, null);
    expect([made.kind, made.nullable, draftOf(made).isNull]).toEqual(['integer', true, true]);
    expect(field({ type: ['string', 'null'] }, 'a').nullable).toBe(true);
    expect(field({ anyOf: [{ type: 'integer' }, { type: 'string' }] }, 1).kind).toBe('json');
  });

  it('follows references', () => {
    const whole = { definitions: { Colour: { enum: ['red', 'blue'] } } };
    expect(field({ $ref: '#/definitions/Colour' }, 'red', whole).options).toEqual(['red', 'blue']);
    expect(field({ allOf: [{ $ref: '#/definitions/Colour' }] }, 'red', whole).kind).toBe('enum');
  });
});

describe('valueOf', () => {
  const told = (schema: Schema, text: string) => valueOf(field(schema), { text, isNull: false });

  it.each<[Schema, string, unknown]>([
    [{ type: 'integer' }, ' 12 ', 12],
    [{ type: 'number' }, '1e3', 1000],
    [{ type: 'boolean' }, 'true', true],
    [{ enum: [1, 'a'] }, '"a"', 'a'],
    [{ type: 'object' }, '{"a": [1]}', { a: [1] }],
    [{ type: 'string' }, '', ''],
    [{ type: 'string', format: 'date' }, '2026-11-23', '2026-11-23'],
  ])('%j: %s', (schema, text, value) => expect(told(schema, text)).toEqual({ value }));

  it.each<[Schema, string]>([
    [{ type: 'integer' }, '1.5'],
    [{ type: 'integer' }, '90071992547409930'],
    [{ type: 'integer', minimum: 3 }, '2'],
    [{ type: 'number', maximum: 3 }, '4'],
    [{ type: 'number' }, ''],
    [{ type: 'array' }, '[1,'],
    [{ type: 'array' }, ''],
    [{ type: 'string', format: 'date-time' }, 'soon'],
  ])('%j: not %s', (schema, text) => expect(told(schema, text)).toHaveProperty('error'));

  it('says null', () =>
    expect(valueOf(field({ type: ['string', 'null'] }), { text: 'x', isNull: true })).toEqual({ value: null }));
});
