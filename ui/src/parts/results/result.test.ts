import { describe, expect, it } from 'vitest';
import { sized, told } from './result';

describe('told', () => {
  it('shows a value that the API shows, null too', () =>
    expect(
      told({ type: 'COMPLETED', data: { type: 'result', serializer: 'json', storage_key: null, size: 4, value: null } }),
    ).toEqual({
      kind: 'value',
      value: null,
    }));
  it('describes one that it does not', () =>
    expect(told({ type: 'COMPLETED', data: { type: 'result', serializer: 'pickle', storage_key: 'a/b', size: null } })).toEqual(
      {
        kind: 'kept',
        serializer: 'pickle',
        key: 'a/b',
        size: null,
      },
    ));
  it('knows no value of what failed, or has not ended', () => {
    expect(told({ type: 'FAILED', data: { type: 'result', serializer: 'pickle', storage_key: null, size: 106 } }).kind).toBe(
      'none',
    );
    expect(told(null).kind).toBe('none');
  });
});

describe('sized', () => {
  it.each([
    [1, '1 byte'],
    [106, '106 bytes'],
    [4200, '4.2 kB'],
    [999_900, '1.0 MB'],
    [12_345_678, '12 MB'],
  ])('%d', (bytes, text) => expect(sized(bytes)).toBe(text));
});
