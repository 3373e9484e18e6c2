import { describe, expect, it } from 'vitest';
import { fitted, isWhole, kept, panned, showing, zoomed } from './viewport';

const bounds = { from: 0, to: 1000, least: 1 };
const whole = fitted(bounds);

it('shows everything with a margin', () => expect(whole).toEqual({ from: -20, to: 1020 }));

describe('zooming', () => {
  it('leaves what is under the pointer where it is', () => {
    const view = zoomed(whole, 0.5, 240, bounds);
    expect((240 - view.from) / (view.to - view.from)).toBeCloseTo((240 - whole.from) / 1040);
    expect(view.to - view.from).toBeCloseTo(520);
  });

  it('ends at the least, and at the whole', () => {
    expect(zoomed(whole, 1e-9, 500, bounds)).toMatchObject({ from: expect.closeTo(499.5, 1), to: expect.closeTo(500.5, 1) });
    expect(isWhole(zoomed({ from: 3, to: 4 }, 1e9, 3, bounds), bounds)).toBe(true);
  });
});

it('pans as far as there is something', () => {
  expect(panned({ from: 100, to: 200 }, 50, bounds)).toEqual({ from: 150, to: 250 });
  expect(panned({ from: 100, to: 200 }, 5000, bounds)).toEqual({ from: 920, to: 1020 });
});

it('shortens what is longer than the whole', () => expect(kept({ from: -500, to: 5000 }, bounds)).toEqual(whole));

it('moves only to what is not seen', () => {
  const view = { from: 100, to: 200 };
  expect(showing(view, { from: 150, to: 160 }, bounds)).toBe(view);
  expect(showing(view, { from: 400, to: 410 }, bounds)).toEqual({ from: 390, to: 490 });
});
