// A traceback of Python taken apart, so that the frames of the user's own code can stand out.

export interface Frame {
  kind: 'frame';
  file: string;
  line: number;
  /** The function, as Python names it. */
  where: string | null;
  /** What Python shows of the source below, as it stands. */
  source: string[];
  /** Of a library or of Python itself, not of the user. */
  foreign: boolean;
}

export interface Words {
  kind: 'words';
  text: string;
  /** The line that names the exception. */
  exception: boolean;
}

/** Frames of libraries that follow each other. */
export interface Fold {
  kind: 'fold';
  frames: Frame[];
}

const FRAME = /^(\s*(?:\| )*\s*)File "(.+)", line (\d+)(?:, in (.+))?$/;
const EXCEPTION = /^(?:[\s|+-]*)[A-Za-z_][\w.]*(?:[Ee]rror|Exception|Exit|Interrupt|Warning|Group|Iteration|[A-Z]\w*)(?::|$)/;
const FOREIGN = /[\\/](?:site-packages|dist-packages|tidemill)[\\/]|[\\/]lib[\\/]python3|[\\/]Lib[\\/]|^<frozen|^<attrs/;

/** The traceback in parts, from the outermost call to the exception. */
export function parts(traceback: string): (Frame | Words)[] {
  const found: (Frame | Words)[] = [];
  let frame: Frame | null = null;
  let indent = 0;
  for (const line of traceback.trimEnd().split('\n')) {
    const match = FRAME.exec(line);
    if (match) {
      indent = match[1]?.length ?? 0;
      const file = match[2] ?? '';
      frame = {
        kind: 'frame',
        file,
        line: Number(match[3]),
        where: match[4] ?? null,
        source: [],
        foreign: FOREIGN.test(file),
      };
      found.push(frame);
    } else if (
      frame &&
      (line
        .slice(0, indent + 2)
        .replace(/\|/g, ' ')
        .trim() === '' ||
        /^\s+\[Previous line/.test(line))
    ) {
      frame.source.push(line.slice(indent + 2));
    } else {
      frame = null;
      found.push({ kind: 'words', text: line, exception: EXCEPTION.test(line) && !line.startsWith('Traceback') });
    }
  }
  return found;
}

/** The same, with the frames of libraries between the user's own folded; all are shown where none is the user's. */
export function folded(all: readonly (Frame | Words)[]): (Frame | Words | Fold)[] {
  if (!all.some((part) => part.kind === 'frame' && !part.foreign)) return [...all];
  const result: (Frame | Words | Fold)[] = [];
  for (const part of all) {
    const last = result.at(-1);
    if (part.kind !== 'frame' || !part.foreign) result.push(part);
    else if (last?.kind === 'fold') last.frames.push(part);
    else result.push({ kind: 'fold', frames: [part] });
  }
  return result;
}

/** The path of a file, in two: what may be left out where there is no room, and its end. */
export function shortened(file: string): [string, string] {
  const cut = file.split(/[\\/]/);
  const end = cut.slice(-2).join('/');
  return [file.slice(0, file.length - end.length), end];
}

/** The name of an exception's class without its module. */
export function className(type: string): string {
  return type.slice(type.lastIndexOf('.') + 1);
}
