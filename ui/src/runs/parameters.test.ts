import { expect, it } from 'vitest';
import { inLine, inLines } from './parameters';

it('says parameters in a line', () =>
  expect(inLine({ city: 'Bergen', days: 3, tags: [1, null] })).toBe('city="Bergen", days=3, tags=[1,null]'));

it('says them in lines, cut where they are long or many', () => {
  const lines = inLines(Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`p${n}`, 'x'.repeat(500)]))).split('\n');
  expect(lines).toHaveLength(15);
  expect(lines[0]?.length).toBeLessThan(170);
  expect(lines.at(-1)).toBe('and 6 more');
});
