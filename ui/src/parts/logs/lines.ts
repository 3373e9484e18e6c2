// The lines of a log in columns, in the order in which they were recorded.

/** As `/ui/flow_runs/{id}/lines` tells them. */
export interface Page {
  seq: readonly number[];
  level: readonly number[];
  at_ms: readonly number[];
  message: readonly string[];
  /** Which of `task_runs`, if any. */
  task_run: readonly (number | null)[];
  task_runs: readonly { id: string; name: string | null }[];
}

export interface Wanted {
  /** Only lines of this level and above. */
  level: number;
  /** Only lines of this task run. */
  taskRun: string | null;
}

/** A line as the live stream tells it. */
export interface LiveLine {
  seq: number;
  level: number;
  timestamp: string;
  message: string;
  task_run_id: string | null;
}

export const NO_TASK = -1;

export class Lines {
  readonly seq: number[] = [];
  readonly level: number[] = [];
  readonly at: number[] = [];
  readonly message: string[] = [];
  /** Which task run, as an index into `taskRuns`; -1 for lines of the flow itself. */
  readonly task: number[] = [];
  /** The name is empty until it is known. */
  readonly taskRuns: { id: string; name: string }[] = [];
  readonly #numbers = new Map<string, number>();

  get count(): number {
    return this.seq.length;
  }

  get last(): number {
    return this.seq.at(-1) ?? 0;
  }

  /** Adds what is not there yet. */
  addPage(page: Page): void {
    const numbers = page.task_runs.map(({ id, name }) => this.#number(id, name));
    for (let n = 0; n < page.seq.length; n++) {
      const task = page.task_run[n] ?? null;
      this.#add(
        page.seq[n] ?? 0,
        page.level[n] ?? 0,
        page.at_ms[n] ?? 0,
        page.message[n] ?? '',
        task === null ? NO_TASK : (numbers[task] ?? NO_TASK),
      );
    }
  }

  addLive(lines: readonly LiveLine[]): void {
    for (const { seq, level, timestamp, message, task_run_id: task } of lines)
      this.#add(seq, level, Date.parse(timestamp), message, task === null ? NO_TASK : this.#number(task, ''));
  }

  nameTaskRuns(named: readonly { id: string; name: string | null }[]): void {
    for (const { id, name } of named) this.#number(id, name);
  }

  /** Where a line stands, by its number; -1 if it is not here. */
  find(seq: number): number {
    const place = this.#place(seq);
    return this.seq[place] === seq ? place : -1;
  }

  /** The lines that are wanted, by their places. */
  chosen({ level, taskRun }: Wanted): number[] {
    const task = taskRun === null ? null : (this.#numbers.get(taskRun) ?? NO_TASK - 1);
    const found: number[] = [];
    for (let n = 0; n < this.seq.length; n++)
      if ((this.level[n] ?? 0) >= level && (task === null || this.task[n] === task)) found.push(n);
    return found;
  }

  #add(seq: number, level: number, at: number, message: string, task: number): void {
    const place = seq > this.last ? this.seq.length : this.#place(seq);
    if (this.seq[place] === seq) return;
    if (place === this.seq.length) {
      this.seq.push(seq);
      this.level.push(level);
      this.at.push(at);
      this.message.push(message);
      this.task.push(task);
    } else {
      // Lines of several processes may come a little out of order.
      this.seq.splice(place, 0, seq);
      this.level.splice(place, 0, level);
      this.at.splice(place, 0, at);
      this.message.splice(place, 0, message);
      this.task.splice(place, 0, task);
    }
  }

  #number(id: string, name: string | null): number {
    let number = this.#numbers.get(id);
    if (number === undefined) {
      number = this.taskRuns.push({ id, name: name ?? '' }) - 1;
      this.#numbers.set(id, number);
    } else if (name) this.taskRuns[number] = { id, name };
    return number;
  }

  /** The first place whose number is not below `seq`. */
  #place(seq: number): number {
    let [low, high] = [0, this.seq.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.seq[middle] ?? 0) < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** The levels one can ask for. */
export const LEVELS = [
  { level: 0, name: 'All levels' },
  { level: 20, name: 'Info and above' },
  { level: 30, name: 'Warnings and errors' },
  { level: 40, name: 'Errors' },
] as const;

export const ERROR = 40;

export function levelName(level: number): string {
  if (level >= 50) return 'CRITICAL';
  if (level >= 40) return 'ERROR';
  if (level >= 30) return 'WARNING';
  if (level >= 20) return 'INFO';
  return 'DEBUG';
}

// A message of more lines than this is folded to its beginning and its end, where a traceback says what happened.
const LONGEST = 14;
const HEAD = 3;
const TAIL = 6;

export interface Shown {
  head: string;
  /** How many lines are left out between the two. */
  hidden: number;
  tail: string;
}

/** A message as it is shown: a long one without its middle. */
export function folded(message: string, unfolded: boolean): Shown {
  if (unfolded || lineCount(message) <= LONGEST) return { head: message, hidden: 0, tail: '' };
  const lines = message.split('\n');
  return {
    head: lines.slice(0, HEAD).join('\n'),
    hidden: lines.length - HEAD - TAIL,
    tail: lines.slice(-TAIL).join('\n'),
  };
}

/** How many lines a message takes, if none is wrapped. */
export function shownLines(message: string, unfolded: boolean): number {
  const lines = lineCount(message);
  return unfolded || lines <= LONGEST ? lines : HEAD + 1 + TAIL;
}

function lineCount(text: string): number {
  let count = 1;
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) count++;
  return count;
}
