import { describe, expect, it } from 'vitest';
import { Axis, gapsOf, niceStep, tickText } from './axis';
import type { FlowState } from './model';

const state = (type: FlowState['type'], at: number): FlowState => ({ type, name: type, message: null, at });

describe('gaps', () => {
  it('are the long times between two attempts', () => {
    const states = [
      state('PENDING', 0),
      state('RUNNING', 5),
      state('FAILED', 1005),
      state('RUNNING', 90_005),
      state('COMPLETED', 91_005),
    ];
    const [gap, ...others] = gapsOf(states, 91_005);
    expect(others).toEqual([]);
    expect(gap).toMatchObject({ from: 1005, to: 90_005 });
    expect(gap?.drawn).toBeCloseTo(160, 0);
  });

  it('are not the short ones, nor what comes after the end', () => {
    expect(
      gapsOf([state('RUNNING', 0), state('FAILED', 1000), state('RUNNING', 1010), state('COMPLETED', 2000)], 9000),
    ).toEqual([]);
  });

  it('are also the wait before a scheduled beginning', () => {
    expect(gapsOf([state('SCHEDULED', 0), state('RUNNING', 60_000)], 70_000)).toMatchObject([
      { from: 0, to: 60_000, drawn: 800 },
    ]);
  });
});

describe('an axis with a gap', () => {
  const axis = new Axis([{ from: 100, to: 1100, drawn: 10 }]);

  it.each([
    [0, 0],
    [100, 100],
    [600, 105],
    [1100, 110],
    [1200, 210],
  ])('draws %d at %d, and back', (time, drawn) => {
    expect(axis.drawn(time)).toBeCloseTo(drawn);
    expect(axis.time(drawn)).toBeCloseTo(time);
  });

  it('has ticks on both sides of it, none within', () => {
    expect(axis.ticks(0, 1300, 2, 100).map(({ at }) => at)).toEqual([0, 50, 100, 1100, 1150, 1200, 1250, 1300]);
  });
});

it('chooses round steps', () => {
  expect([0.03, 0.7, 3, 40, 501, 7000, 100_000, 5e9].map(niceStep)).toEqual([
    0.05,
    1,
    5,
    50,
    1000,
    10_000,
    120_000,
    90 * 86_400_000,
  ]);
});

it.each([
  [0, 1, '0'],
  [0.25, 0.05, '0.25 ms'],
  [250, 50, '250 ms'],
  [1500, 500, '1.5 s'],
  [30_000, 10_000, '30 s'],
  [61_500, 500, '1 m 1.5 s'],
  [90_000, 30_000, '1 m 30 s'],
  [7_200_000, 3_600_000, '2 h'],
  [-50, 10, '−50 ms'],
])('tells %d ms in steps of %d', (time, step, text) => expect(tickText(time, step)).toBe(text));
