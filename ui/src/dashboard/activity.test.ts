import { describe, expect, it } from 'vitest';
import type { HistoryInterval } from '../api/schema';
import { bars, rangeOf, roundUp, spanOf, told } from './activity';

const HOUR = 3_600_000;

describe('spanOf', () => {
  const now = Date.UTC(2026, 10, 23, 12, 20);
  it('ends with the hour that is not over', () =>
    expect(spanOf(rangeOf('24h'), now, 0)).toEqual({
      begin: Date.UTC(2026, 10, 22, 13),
      end: Date.UTC(2026, 10, 23, 13),
    }));
  it('begins bars at whole hours of the viewer, also where these are half ones elsewhere', () =>
    expect(spanOf(rangeOf('24h'), now, -330).end).toBe(Date.UTC(2026, 10, 23, 12, 30)));
  it('has bars of three hours for a week', () => {
    const { begin, end } = spanOf(rangeOf('7d'), now, 0);
    expect((end - begin) / (3 * HOUR)).toBe(56);
    expect(end).toBe(Date.UTC(2026, 10, 23, 15));
  });
});

const interval = (...states: [string, number][]): HistoryInterval =>
  ({
    interval_start: '2026-11-23T12:00:00Z',
    interval_end: '2026-11-23T13:00:00Z',
    states: states.map(([state_type, count_runs]) => ({ state_type, count_runs })),
  }) as HistoryInterval;

describe('bars', () => {
  const [bar] = bars([interval(['FAILED', 1], ['COMPLETED', 2], ['SCHEDULED', 1], ['SCHEDULED', 3])]);
  it('puts what went well at the foot, and joins the names of a state', () =>
    expect(bar?.parts).toEqual([
      { type: 'COMPLETED', count: 2 },
      { type: 'SCHEDULED', count: 4 },
      { type: 'FAILED', count: 1 },
    ]));
  it('is told in words', () => expect(bar && told(bar)).toBe('7 runs · 2 completed · 4 scheduled · 1 failed'));
});

it.each([
  [0, 1],
  [1, 1],
  [7, 8],
  [10, 10],
  [11, 20],
  [610, 800],
])('the axis for %d ends at %d', (value, end) => expect(roundUp(value)).toBe(end));
