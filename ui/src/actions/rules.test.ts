import { describe, expect, it } from 'vitest';
import type { StateType } from '../api/types';
import { allowing, availableActions, mayRetryFrom, type Actionable } from './rules';

function run(state_type: StateType | null, more: Partial<Actionable> = {}): Actionable {
  return { id: '1', name: 'one', state_type, state_name: null, parent_flow_run_id: null, ...more };
}

describe('availableActions', () => {
  const always = ['rerun', 'set-state', 'delete'];
  it.each<[StateType | null, string[]]>([
    ['RUNNING', ['cancel', ...always]],
    ['SCHEDULED', ['cancel', ...always]],
    ['PENDING', ['cancel', ...always]],
    ['PAUSED', ['cancel', 'resume', ...always]],
    ['CANCELLING', always],
    ['COMPLETED', always],
    ['FAILED', ['retry', ...always]],
    ['CRASHED', ['retry', ...always]],
    ['CANCELLED', ['retry', ...always]],
    [null, always],
  ])('%s', (type, names) => expect(availableActions(run(type), 'operator')).toEqual(names));

  it('offers nothing to those who only look', () => {
    expect(availableActions(run('FAILED'), 'viewer')).toEqual([]);
    expect(availableActions(run('FAILED'), null)).toEqual([]);
  });

  it('offers no retry of a subflow run', () =>
    expect(availableActions(run('FAILED', { parent_flow_run_id: '2' }), 'admin')).not.toContain('retry'));

  it('tells the command again of a run that awaits its retry', () =>
    expect(availableActions(run('SCHEDULED', { state_name: 'AwaitingRetry' }), 'operator')).toContain('retry'));
});

it('picks the runs that allow an action', () => {
  const failed = run('FAILED');
  expect(allowing('retry', [run('RUNNING'), failed, run('COMPLETED')])).toEqual([failed]);
});

it.each<[StateType, boolean]>([
  ['COMPLETED', true],
  ['FAILED', true],
  ['RUNNING', false],
  ['PAUSED', false],
])('%s: may it be retried from a task run? %s', (type, may) => expect(mayRetryFrom(run(type), 'operator')).toBe(may));
