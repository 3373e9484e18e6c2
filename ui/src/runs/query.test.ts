import { describe, expect, it } from 'vitest';
import type { FlowRun } from '../api/types';
import { belongs, criteriaOf, isNarrowed, orderOf, queryFrom, type RunsQuery } from './query';

const NOW = Date.UTC(2026, 10, 23, 12);
const ID = '01a20608-042b-7991-97a6-ee53cd128ba2';

function query(address: string): RunsQuery {
  return queryFrom(new URLSearchParams(address));
}

function run(more: Partial<FlowRun> = {}): FlowRun {
  return {
    id: ID,
    name: 'brave-otter',
    flow_name: 'Weather',
    state_type: 'FAILED',
    state_name: 'TimedOut',
    tags: ['daily'],
    start_time: '2026-11-23T11:00:00Z',
    expected_start_time: '2026-11-23T10:00:00Z',
    end_time: null,
    parent_task_run_id: null,
    ...more,
  } as FlowRun;
}

describe('criteriaOf', () => {
  it.each<[string, object]>([
    ['', { flow_runs: { parent_task_run_id: { is_null_: true } } }],
    ['subflows=1', { flow_runs: {} }],
    [
      'subflows=1&state=FAILED,nonsense&name=Late',
      { flow_runs: { state: { operator: 'or_', type: { any_: ['FAILED'] }, name: { any_: ['Late'] } } } },
    ],
    ['subflows=1&flow=a&tag=b', { flow_runs: { tags: { all_: ['b'] } }, flows: { name: { any_: ['a'] } } }],
    ['subflows=1&q=otter', { flow_runs: { any_name: { like_: 'otter' } } }],
    [`subflows=1&q=${ID}`, { flow_runs: { id: { any_: [ID] } } }],
    ['subflows=1&since=24h', { flow_runs: { began: { after_: '2026-11-22T12:00:00.000Z' } } }],
    [
      'subflows=1&since=2026-11-01&until=15m',
      { flow_runs: { began: { after_: '2026-11-01T00:00:00.000Z', before_: '2026-11-23T11:45:00.000Z' } } },
    ],
    ['subflows=1&since=yesterday', { flow_runs: {} }],
  ])('%s', (address, criteria) => expect(criteriaOf(query(address), NOW)).toEqual(criteria));
});

describe('belongs', () => {
  it.each<[string, boolean]>([
    ['', true],
    ['state=FAILED', true],
    ['state=RUNNING', false],
    ['name=TimedOut', true],
    ['state=RUNNING&name=TimedOut', true],
    ['flow=Weather', true],
    ['flow=weather', false],
    ['tag=daily', true],
    ['tag=hourly', false],
    ['q=OTTER', true],
    ['q=weath', true],
    [`q=${ID.replaceAll('-', '').toUpperCase()}`, true],
    ['q=badger', false],
    ['since=2h', true],
    ['since=30m', false],
    ['until=30m', true],
    ['until=2h', false],
  ])('%s: %s', (address, is) => expect(belongs(run(), query(address), NOW)).toBe(is));

  it('hides subflow runs unless they are asked for', () => {
    const child = run({ parent_task_run_id: ID });
    expect([belongs(child, query(''), NOW), belongs(child, query('subflows=1'), NOW)]).toEqual([false, true]);
  });

  it('takes when a run is to begin, before it has', () =>
    expect(belongs(run({ start_time: null }), query('since=90m'), NOW)).toBe(false));
});

describe('orderOf', () => {
  const one = run({ id: '1', name: 'a', end_time: '2026-11-23T11:30:00Z' });
  const two = run({ id: '2', name: 'b', start_time: '2026-11-23T11:10:00Z' });
  const three = run({ id: '3', name: 'c', start_time: '2026-11-23T11:10:00Z' });
  it.each([
    ['START_TIME_DESC', '321'],
    ['START_TIME_ASC', '123'],
    ['END_TIME_DESC', '132'],
    ['NAME_ASC', '123'],
    ['NAME_DESC', '321'],
    ['NEXT_SCHEDULED_START_TIME_ASC', '321'],
  ] as const)('%s', (sort, ids) => {
    const sorted = [two, three, one].sort(orderOf(sort));
    expect(sorted.map(({ id }) => id).join('')).toBe(ids);
  });
});

it.each([
  ['', false],
  ['subflows=1&sort=NAME_ASC', false],
  ['q=a', true],
  ['state=FAILED', true],
])('is "%s" narrowed? %s', (address, is) => expect(isNarrowed(query(address))).toBe(is));
