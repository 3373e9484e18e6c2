import { expect, it } from 'vitest';
import { conditionsOf, essence, queryOf } from './saved';

it('keeps what says which runs are listed', () => {
  const query = essence(new URLSearchParams('q=a%26b&tab=logs&state=FAILED,CRASHED'));
  expect(query).toBe('state=FAILED%2CCRASHED&q=a%26b');
  expect(queryOf(conditionsOf(query))).toBe(query);
});

it('leaves alone what others have saved', () =>
  expect(queryOf([{ object: 'deployment', property: 'name', type: 'string', operation: 'any', value: ['a'] }])).toBeNull());
