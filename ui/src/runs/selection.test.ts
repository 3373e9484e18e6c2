import { expect, it } from 'vitest';
import { Selection } from './selection.svelte';

const order = ['a', 'b', 'c', 'd'];

it('chooses one, a range, and takes it back', () => {
  const selection = new Selection();
  selection.toggle('b', order, false);
  selection.toggle('d', order, true);
  expect([...selection.ids]).toEqual(['b', 'c', 'd']);
  selection.toggle('c', order, true);
  expect([...selection.ids]).toEqual(['b']);
});

it('forgets what is gone', () => {
  const selection = new Selection();
  selection.set(order);
  selection.keep(['a', 'x']);
  expect([...selection.ids]).toEqual(['a']);
});
