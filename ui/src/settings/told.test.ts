import { expect, it } from 'vitest';
import { bytes, shownSetting } from './told';

it.each([
  [0, '0 bytes'],
  [1023, '1023 bytes'],
  [1024, '1.0 KiB'],
  [50 * 1024 * 1024, '50 MiB'],
  [3.5 * 1024 ** 3, '3.5 GiB'],
])('%d bytes', (count, text) => expect(bytes(count)).toBe(text));

it.each([
  [null, ''],
  ['INFO', 'INFO'],
  [4200, '4200'],
  [['a', 'b'], '["a","b"]'],
])('shows the setting %j', (value, text) => expect(shownSetting(value)).toBe(text));
