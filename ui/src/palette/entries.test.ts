import { expect, it } from 'vitest';
import { matching, type Entry } from './entries';

const entries: Entry[] = ['Go to Runs', 'Go to Flows', 'Theme: dark'].map((text) => ({ id: text, text, run: () => undefined }));

it.each([
  ['', 3],
  ['go', 2],
  ['FLOW go', 1],
  ['dark', 1],
  ['dark go', 0],
])('"%s" finds %d', (words, count) => expect(matching(entries, words)).toHaveLength(count));
