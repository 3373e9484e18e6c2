import { describe, expect, it } from 'vitest';
import { Graph } from './model';
import { next } from './moves';
import { Rows } from './rows';
import { answerOf, taskRun, type Sample } from './samples';

const many = (task: string, start: number): Sample[] =>
  [0, 1, 2].map((n) => ({ name: `${task}-${n}`, start: start + n, end: start + n + 10 }));

function graphOf(samples: Sample[]): Graph {
  const graph = new Graph('flow-run', 0, 3);
  graph.read(answerOf(samples));
  return graph;
}

function rowsOf(graph: Graph, open: number[] = []): Rows {
  const rows = new Rows();
  rows.build(graph, { isOpen: (_, task) => open.includes(task), subflow: () => undefined }, 0);
  return rows;
}

describe('rows', () => {
  const graph = graphOf([{ name: 'first-0', start: 0, end: 5 }, ...many('map', 10), { name: 'last-0', start: 30, end: 40 }]);

  it('stand in the order of the beginning, groups between what is alone', () => {
    expect(rowsOf(graph).blocks.map(({ kind }) => kind)).toEqual(['loose', 'group', 'loose']);
  });

  it('are higher where a group is opened', () => {
    const [folded, open] = [rowsOf(graph), rowsOf(graph, [1])];
    expect(open.blocks[1]?.lanes?.lanes).toEqual([[1], [2], [3]]);
    expect(open.height).not.toBe(folded.height);
  });

  it('are found by where they are', () => {
    const rows = rowsOf(graph, [1]);
    const block = rows.blocks[1];
    const y = block ? rows.middleOf(block, 2) : 0;
    expect(rows.at(y, 12, 0)).toEqual({ block, node: 2 });
    expect(rows.at(y, 100, 1)).toBeNull();
    expect(rows.at((block?.y ?? 0) + 2, 0, 0)).toEqual({ block, node: null });
  });

  it('take in what comes without moving what is there', () => {
    const own = graphOf(many('map', 10));
    const rows = rowsOf(own, [0]);
    const change = own.merge([taskRun({ id: 'map-3', task_key: 'map', start_time: new Date(30).toISOString() })]);
    expect(rows.place(own, change.moved)).toBe(false);
    expect(rows.blocks[0]?.lanes?.lanes).toEqual([[0, 3], [1], [2]]);
  });

  it('are gone through by keys', () => {
    const rows = rowsOf(graph, [1]);
    const names: (string | null)[] = [];
    let at = next(rows, null, 'down', 0);
    for (let n = 0; n < 6; n++) {
      names.push(at?.node == null ? null : (graph.name[at.node] ?? null));
      at = next(rows, at, 'down', 0);
    }
    expect(names).toEqual(['first-0', null, 'map-0', 'map-1', 'map-2', 'last-0']);
  });
});
