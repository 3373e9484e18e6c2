import { expect, it } from 'vitest';
import { shares, spans } from './stateSpans';

const state = (type: 'PENDING' | 'RUNNING' | 'COMPLETED', second: number) => ({
  type,
  name: type,
  message: null,
  timestamp: new Date(second * 1000).toISOString(),
});

it('tells how long a run was in each state', () => {
  const told = spans([state('RUNNING', 1), state('PENDING', 0), state('COMPLETED', 5)]);
  expect(told.map(({ type, began, ended, final }) => [type, began, ended, final])).toEqual([
    ['PENDING', 0, 1000, false],
    ['RUNNING', 1000, 5000, false],
    ['COMPLETED', 5000, null, true],
  ]);
  expect(shares(told, 99_000).map(({ part }) => part)).toEqual([0.2, 0.8]);
});

it('counts the current state until now', () => {
  const told = spans([state('PENDING', 0), state('RUNNING', 1)]);
  expect(shares(told, 4000).map(({ part }) => part)).toEqual([0.25, 0.75]);
});

it('has nothing to share where nothing has lasted', () => expect(shares([], 0)).toEqual([]));
