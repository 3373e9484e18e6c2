import { describe, expect, it } from 'vitest';
import { Lanes, type Bars } from './lanes';

function barsOf(...times: [number, number][]): Bars {
  return {
    start: Float64Array.from(times, ([start]) => start),
    end: Float64Array.from(times, ([, end]) => end),
    lane: new Int32Array(times.length).fill(-1),
  };
}

function packed(bars: Bars, gap = 0): Lanes {
  const lanes = new Lanes(() => bars, gap);
  lanes.pack([...bars.start.keys()]);
  return lanes;
}

describe('packing', () => {
  it('puts a bar into the first lane that is free', () => {
    expect(packed(barsOf([0, 10], [2, 4], [5, 6], [10, 12])).lanes).toEqual([
      [0, 3],
      [1, 2],
    ]);
  });

  it('leaves room for names', () => {
    expect(packed(barsOf([0, 1], [2, 3], [8, 9]), 5).lanes).toEqual([[0, 2], [1]]);
  });

  it('puts nothing behind what goes on, and leaves out what has not begun', () => {
    const bars = barsOf([0, NaN], [5, 6], [NaN, NaN]);
    expect(packed(bars).lanes).toEqual([[0], [1]]);
    expect([...bars.lane]).toEqual([0, 1, -1]);
  });

  it('lets no two bars of a lane overlap, and takes as few lanes as there are at once', () => {
    const times = Array.from({ length: 3000 }, (_, n): [number, number] => [
      (n * 7919) % 5000,
      ((n * 7919) % 5000) + ((n * 31) % 40),
    ]);
    const bars = barsOf(...times);
    const { lanes } = packed(bars);
    for (const lane of lanes)
      for (let n = 1; n < lane.length; n++)
        expect(bars.start[lane[n] as number]).toBeGreaterThanOrEqual(bars.end[lane[n - 1] as number] as number);
    const most = Math.max(...times.map(([at]) => times.filter(([start, end]) => start <= at && end > at).length));
    expect(lanes.length).toBeLessThanOrEqual(most + 1);
  });
});

describe('a bar that comes later', () => {
  it('takes a gap or a new lane, and moves no other', () => {
    const bars = barsOf([0, 4], [10, 12], [5, 9], [3, 20], [11, NaN]);
    const lanes = new Lanes(() => bars);
    lanes.pack([0, 1]);
    for (const bar of [2, 3, 4]) lanes.place(bar);
    expect(lanes.lanes).toEqual([[0, 2, 1], [3], [4]]);
  });

  it('leaves its lane when it begins again', () => {
    const bars = barsOf([0, 4], [5, 9]);
    const lanes = packed(bars);
    bars.start[0] = 6;
    bars.end[0] = 8;
    lanes.place(0);
    expect(lanes.lanes).toEqual([[1], [0]]);
  });
});

describe('looking', () => {
  const lanes = packed(barsOf([0, 4], [10, 12], [20, 30]));
  const lane = lanes.lanes[0] as number[];

  it('begins with the bar that goes on', () => {
    expect([-5, 0, 11, 15, 50].map((time) => lanes.firstSeen(lane, time))).toEqual([0, 0, 1, 1, 2]);
  });

  it('finds the nearest bar within reach', () => {
    expect([2, 5, 9, 16].map((time) => lanes.at(lane, time, 1))).toEqual([0, 0, 1, null]);
    expect(lanes.at(lane, 17, Infinity)).toBe(2);
  });
});
