import { expect, it } from 'vitest';
import { depths, layered } from './layers';
import { Graph } from './model';
import { answerOf, type Sample } from './samples';

function graphOf(samples: Sample[], groupFrom = 3): Graph {
  const graph = new Graph('flow-run', 0, groupFrom);
  graph.read(answerOf(samples));
  return graph;
}

const named = (graph: Graph, layers: ReturnType<typeof layered>): string[][] =>
  layers.layers.map((layer) => layer.map((box) => graph.name[layers.boxes[box]?.members[0] ?? -1] ?? ''));

it('puts each behind the last of those that it depends on', () => {
  const graph = graphOf([{ name: 'a-0' }, { name: 'b-0', parents: [0] }, { name: 'c-0', parents: [0, 1] }, { name: 'd-0' }]);
  expect([...depths(graph)]).toEqual([0, 1, 2, 0]);
});

it('orders a layer so that arrows do not cross', () => {
  const graph = graphOf([{ name: 'a-0' }, { name: 'b-0' }, { name: 'c-0', parents: [1] }, { name: 'd-0', parents: [0] }]);
  expect(named(graph, layered(graph))).toEqual([
    ['a-0', 'b-0'],
    ['d-0', 'c-0'],
  ]);
});

it('shows many runs of a task as one, until it is opened', () => {
  const mapped = [0, 1, 2, 3].map((n) => ({ name: `m-${n}`, parents: [0] }));
  const graph = graphOf([{ name: 'a-0' }, ...mapped, { name: 'z-0', parents: [1, 2, 3, 4] }]);
  const folded = layered(graph);
  expect(folded.boxes.map(({ group, members }) => [group, members.length])).toEqual([
    [false, 1],
    [true, 4],
    [false, 1],
  ]);
  expect(folded.arrows).toEqual([
    { from: 0, to: 1, call: false },
    { from: 1, to: 2, call: false },
  ]);
  expect(layered(graph, () => true).arrows).toHaveLength(8);
});

it('makes no circle of a task that is called again and again', () => {
  const graph = graphOf([
    { name: 'a-0' },
    { name: 'b-0', parents: [0] },
    { name: 'a-1', parents: [1] },
    { name: 'b-1', parents: [2] },
    { name: 'a-2', parents: [3] },
  ]);
  expect(layered(graph).layers).toHaveLength(5);
});
