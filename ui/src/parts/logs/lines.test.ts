import { describe, expect, it } from 'vitest';
import { folded, Lines, shownLines, type Page } from './lines';
import { matches, nextOf, pieces } from './search';

const page = (seq: number[], more: Partial<Page> = {}): Page => ({
  seq,
  level: seq.map(() => 20),
  at_ms: seq.map((n) => n * 10),
  message: seq.map((n) => `line ${n}`),
  task_run: seq.map(() => null),
  task_runs: [],
  ...more,
});

describe('Lines', () => {
  it('keeps the order, whatever the order in which lines come, and each line once', () => {
    const lines = new Lines();
    lines.addPage(page([1, 2, 5]));
    lines.addPage(page([5, 6]));
    lines.addLive([{ seq: 4, level: 40, timestamp: '2026-11-23T00:00:00Z', message: 'late', task_run_id: 'a' }]);
    expect(lines.seq).toEqual([1, 2, 4, 5, 6]);
    expect(lines.message[2]).toBe('late');
    expect([lines.find(5), lines.find(3)]).toEqual([3, -1]);
  });

  it('knows task runs by the same number in every page, and learns their names', () => {
    const lines = new Lines();
    lines.addLive([{ seq: 1, level: 20, timestamp: '2026-11-23T00:00:00Z', message: '', task_run_id: 'b' }]);
    lines.addPage(
      page([2, 3], {
        task_run: [1, 0],
        task_runs: [
          { id: 'a', name: 'first' },
          { id: 'b', name: 'second' },
        ],
      }),
    );
    expect(lines.task.map((number) => lines.taskRuns[number]?.name)).toEqual(['second', 'second', 'first']);
  });

  it('chooses by level and task run', () => {
    const lines = new Lines();
    lines.addPage(page([1, 2, 3], { level: [10, 40, 40], task_run: [0, null, 0], task_runs: [{ id: 'a', name: 'first' }] }));
    expect(lines.chosen({ level: 30, taskRun: null })).toEqual([1, 2]);
    expect(lines.chosen({ level: 0, taskRun: 'a' })).toEqual([0, 2]);
    expect(lines.chosen({ level: 0, taskRun: 'other' })).toEqual([]);
  });
});

describe('folded', () => {
  const long = Array.from({ length: 30 }, (_, n) => `row ${n}`).join('\n');
  it('leaves out the middle of what is long', () => {
    const { head, hidden, tail } = folded(long, false);
    expect([head.split('\n').length, hidden, tail.split('\n').length]).toEqual([3, 21, 6]);
    expect(shownLines(long, false)).toBe(10);
    expect(folded(long, true)).toEqual({ head: long, hidden: 0, tail: '' });
  });
  it('leaves the rest alone', () => expect([folded('a\nb', false).hidden, shownLines('a\nb', false)]).toEqual([0, 2]));
});

describe('search', () => {
  it('finds lines whatever their case', () => expect(matches(['One', 'two', 'ONE more'], [0, 1, 2], 'one')).toEqual([0, 2]));
  it('goes round', () => {
    expect([nextOf([2, 5], 2, 1), nextOf([2, 5], 5, 1), nextOf([2, 5], 2, -1), nextOf([], 2, 1)]).toEqual([5, 2, 5, null]);
  });
  it('cuts out what was found', () => expect(pieces('to do: To', 'to')).toEqual(['', 'to', ' do: ', 'To', '']));
});
