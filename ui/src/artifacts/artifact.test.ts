import { describe, expect, it } from 'vitest';
import { contentOf } from './artifact';

describe('contentOf', () => {
  it('shows a list of records as a table', () =>
    expect(contentOf({ type: 'table', data: '[{"a": 1}, {"a": 2, "b": "x"}]' })).toEqual({
      kind: 'table',
      columns: ['a', 'b'],
      rows: [
        ['1', ''],
        ['2', 'x'],
      ],
    }));

  it('shows columns as a table', () =>
    expect(contentOf({ type: 'table', data: { a: [1, 2], b: ['x'] } })).toEqual({
      kind: 'table',
      columns: ['a', 'b'],
      rows: [
        ['1', 'x'],
        ['2', ''],
      ],
    }));

  it('shows a link as one', () =>
    expect(contentOf({ type: 'markdown', data: '[report](https://example.org/r)' })).toEqual({
      kind: 'link',
      href: 'https://example.org/r',
      text: 'report',
    }));

  it('makes no link that runs code', () =>
    expect(contentOf({ type: 'markdown', data: '[x](javascript:alert(1))' })).toEqual({
      kind: 'text',
      text: '[x](javascript:alert(1))',
    }));

  it('keeps progress between 0 and 100', () =>
    expect(contentOf({ type: 'progress', data: 120 })).toEqual({ kind: 'progress', percent: 100 }));

  it('shows a table that is none as it is', () =>
    expect(contentOf({ type: 'table', data: 'oops' })).toEqual({ kind: 'json', value: 'oops' }));
});
