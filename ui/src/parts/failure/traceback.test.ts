import { describe, expect, it } from 'vitest';
import { folded, parts, type Frame } from './traceback';

const SIMPLE = `Traceback (most recent call last):
  File "/srv/etl/nightly.py", line 92, in nightly_load
    check([count.result() for count in counts])
    ~~~~~^^^^^^^
  File "/venv/lib/python3.12/site-packages/pandas/io.py", line 8, in read
    return inner(path)
  File "/venv/lib/python3.12/site-packages/pandas/io.py", line 3, in inner
  File "/srv/etl/nightly.py", line 85, in check
    raise StationSilent("short")
StationSilent: short
of rows`;

describe('parts', () => {
  const found = parts(SIMPLE);
  const frames = found.filter((part): part is Frame => part.kind === 'frame');

  it('finds the frames, with their source', () => {
    expect(frames.map(({ line, where, foreign }) => [line, where, foreign])).toEqual([
      [92, 'nightly_load', false],
      [8, 'read', true],
      [3, 'inner', true],
      [85, 'check', false],
    ]);
    expect(frames[0]?.source).toEqual(['check([count.result() for count in counts])', '~~~~~^^^^^^^']);
  });

  it('finds the line of the exception, and leaves what follows as it is', () => {
    const words = found.filter((part) => part.kind === 'words');
    expect(words.map(({ text, exception }) => [text, exception])).toEqual([
      ['Traceback (most recent call last):', false],
      ['StationSilent: short', true],
      ['of rows', false],
    ]);
  });

  it('loses no line of a group of exceptions', () => {
    const group = `  + Exception Group Traceback (most recent call last):
  |   File "/srv/a.py", line 3, in <module>
  |     raise ExceptionGroup("two", [ValueError(1)])
  | ExceptionGroup: two (1 sub-exception)
  +-+---------------- 1 ----------------
    | ValueError: 1
    +------------------------------------`;
    const told = parts(group);
    expect(told.map((part) => part.kind)).toEqual(['words', 'frame', 'words', 'words', 'words', 'words']);
    expect((told[1] as Frame).source).toEqual(['raise ExceptionGroup("two", [ValueError(1)])']);
  });
});

describe('folded', () => {
  it("folds the libraries' frames between one's own", () =>
    expect(folded(parts(SIMPLE)).map((part) => part.kind)).toEqual(['words', 'frame', 'fold', 'frame', 'words', 'words']));

  it('folds nothing where every frame is of a library', () => {
    const foreign = SIMPLE.replaceAll('/srv/etl', '/venv/site-packages/etl');
    expect(folded(parts(foreign)).some((part) => part.kind === 'fold')).toBe(false);
  });
});
