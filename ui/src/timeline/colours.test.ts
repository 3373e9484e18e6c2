import { expect, it } from 'vitest';
import { mixed } from './colours';

it.each([
  ['#000000', '#ffffff', 0.5, '#808080'],
  ['#1a7f4b', '#fff', 0, '#ffffff'],
  ['#fff', '#161f26', 1, '#ffffff'],
  ['#102030', '#304050', 0.25, '#283848'],
])('%s and %s, %d of the first', (one, other, part, mix) => expect(mixed(one, other, part)).toBe(mix));
