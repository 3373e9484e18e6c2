import { describe, expect, it } from 'vitest';
import { absolute, duration, plural, relative } from './times';

describe('duration', () => {
  it.each([
    [0, '0 s'],
    [0.0001, '<1 ms'],
    [0.48, '480 ms'],
    [0.9996, '1.00 s'],
    [3.2, '3.20 s'],
    [12.34, '12.3 s'],
    [59.96, '1 m 00 s'],
    [247, '4 m 07 s'],
    [7500, '2 h 05 m'],
    [273600, '3 d 4 h'],
  ])('%d seconds', (seconds, text) => expect(duration(seconds)).toBe(text));
});

describe('relative', () => {
  const now = Date.UTC(2026, 10, 23, 12);
  it.each([
    [10, 'just now'],
    [-10, 'in a moment'],
    [180, '3 min ago'],
    [-7200, 'in 2 h'],
    [5 * 86400, '5 days ago'],
    [86400, '1 day ago'],
  ])('%d seconds before', (seconds, text) => expect(relative(now - seconds * 1000, now)).toBe(text));
});

it('tells a moment in UTC', () =>
  expect(absolute(Date.UTC(2026, 10, 23, 1, 2, 3, 4), true, true)).toBe('2026-11-23 01:02:03.004 UTC'));

it('counts', () => expect([plural(1, 'run'), plural(1200, 'run')]).toEqual(['1 run', '1,200 runs']));
