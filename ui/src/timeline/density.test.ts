import { expect, it } from 'vitest';
import { Density, KINDS } from './density';
import { Graph } from './model';
import { answerOf } from './samples';

it('knows how many were running on average of any time', () => {
  const graph = new Graph('flow-run', 0);
  graph.read(
    answerOf([
      { name: 'a-0', start: 0, end: 10 },
      { name: 'a-1', start: 5, end: 10 },
      { name: 'a-2', start: 8, state: 'RUNNING' },
      { name: 'a-3', start: 0, end: 1, state: 'FAILED' },
      { name: 'a-4', state: 'PENDING' },
    ]),
  );
  const density = new Density();
  density.update(graph, [0, 1, 2, 3, 4], 1);
  const average = (kind: (typeof KINDS)[number], from: number, to: number): number =>
    (density.worked(KINDS.indexOf(kind), to) - density.worked(KINDS.indexOf(kind), from)) / (to - from);
  expect(average('COMPLETED', 0, 10)).toBeCloseTo(1.5);
  expect(average('COMPLETED', 5, 10)).toBeCloseTo(2);
  expect(average('FAILED', 0, 2)).toBeCloseTo(0.5);
  expect(average('RUNNING', 6, 10)).toBeCloseTo(0.5);
  expect(density.peak).toBeCloseTo(3, 0);
});
