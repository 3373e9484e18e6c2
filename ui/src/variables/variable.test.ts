import { expect, it } from 'vitest';
import { asText, forEditing, fromText } from './variable';

it.each([['plain'], ['3'], ['true'], [3], [null], [{ a: [1] }], ['"quoted"']])(
  '%j is the same after it was edited',
  (value) => {
    expect(fromText(forEditing(value))).toEqual(value);
  },
);

it('shows text without quotation marks', () => expect(asText('s3://bucket')).toBe('s3://bucket'));

it('takes what is no JSON as text', () => expect(fromText('{oops')).toBe('{oops'));
