import { describe, expect, it } from 'vitest';
import type { Cell } from '../api/schema';
import type { LastRun } from '../flows/activity';
import { againCommand } from './again';
import { cellName, cellPath, heights } from './grid';

const run = { id: 'r', name: 'brave-owl', seconds: 4 } as LastRun;
const cell: Cell = { state_type: 'FAILED', total: 3, seconds: 1.5, task_run_id: null };

describe('a cell', () => {
  it('leads to its only task run', () => expect(cellPath({ ...cell, task_run_id: 't' }, run)).toBe('/task-runs/t'));
  it('leads to the task runs of its run', () => expect(cellPath(cell, run)).toBe('/runs/r?tab=task-runs'));
  it('has a name', () =>
    expect(cellName('load', cell, run)).toBe('load in brave-owl · Failed, 1.50 s · 3 task runs, the worst is shown'));
});

it('measures bars by the longest', () =>
  expect(heights([run, { ...run, seconds: 1 }, { ...run, seconds: 0 }])).toEqual([100, 25, 4]));

it.each([
  ['/home/me/flows/load.py:nightly', 'python /home/me/flows/load.py'],
  ["/home/my flows/it's.py:nightly", "python '/home/my flows/it'\\''s.py'"],
  ['reports.daily:main', 'python -m reports.daily'],
  ['', null],
  [null, null],
  ['nowhere', null],
])('runs %s again', (entrypoint, command) => expect(againCommand(entrypoint)).toBe(command));
