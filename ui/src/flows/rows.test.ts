import { describe, expect, it } from 'vitest';
import type { FlowRun } from '../api/types';
import type { FlowActivity, LastRun } from './activity';
import { held, percent, sparkline, withRuns } from './rows';

const cell = (id: string, start_ms: number, state_type: LastRun['state_type'] = 'COMPLETED'): LastRun => ({
  id,
  name: id,
  state_type,
  state_name: state_type,
  start_ms,
  seconds: 1,
});
const flow = (flow_id: string, last_runs: LastRun[] = []): FlowActivity => ({
  flow_id,
  name: flow_id,
  tags: [],
  runs: last_runs.length,
  by_state: {},
  success_rate: null,
  mean_seconds: null,
  p95_seconds: null,
  last_runs,
});
const run = (id: string, flow_id: string, start: number, state_type = 'COMPLETED'): FlowRun =>
  ({
    id,
    name: id,
    flow_id,
    state_type,
    state_name: state_type,
    start_time: new Date(start).toISOString(),
    estimated_run_time: 2,
  }) as FlowRun;
const ids = (found: FlowActivity | undefined): string[] => found?.last_runs.map((each) => each.id) ?? [];

describe('withRuns', () => {
  const flows = [flow('a', [cell('1', 10, 'RUNNING'), cell('2', 20)]), flow('b')];
  it('changes the cell of a run that is there', () => {
    const [a, b] = withRuns(flows, [run('1', 'a', 10, 'FAILED')], 3);
    expect(a?.last_runs.map((each) => each.state_type)).toEqual(['FAILED', 'COMPLETED']);
    expect(b).toBe(flows[1]);
  });
  it('adds a cell, and drops the oldest when there are enough', () => {
    expect(ids(withRuns(flows, [run('3', 'a', 30)], 3)[0])).toEqual(['1', '2', '3']);
    expect(ids(withRuns(flows, [run('3', 'a', 30)], 2)[0])).toEqual(['2', '3']);
  });
  it('adds no run that is older than the last ones', () =>
    expect(ids(withRuns(flows, [run('0', 'a', 5)], 2)[0])).toEqual(['1', '2']));
  it('takes the latest word on a run', () =>
    expect(withRuns(flows, [run('9', 'b', 1, 'RUNNING'), run('9', 'b', 1, 'FAILED')], 2)[1]?.last_runs[0]?.state_type).toBe(
      'FAILED',
    ));
});

it('holds the order of what is shown, and counts what waits', () => {
  const now = [flow('c'), flow('b', [cell('1', 1)]), flow('a')];
  const { flows, waiting } = held([flow('a'), flow('b'), flow('gone')], now);
  expect(flows.map((each) => each.flow_id)).toEqual(['a', 'b', 'gone']);
  expect(ids(flows[1])).toEqual(['1']);
  expect(waiting).toBe(1);
});

it.each([
  [1, '100 %'],
  [0.9995, '99.9 %'],
  [0.123, '12 %'],
  [0.001, '<1 %'],
  [0, '0 %'],
])('tells a rate of %d', (rate, text) => expect(percent(rate)).toBe(text));

it('draws a line', () => expect(sparkline([0, 2], 20, 10)).toBe('2.0,8.0 18.0,2.0'));
