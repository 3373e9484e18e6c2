// Reads the lines of a run, all of them in the background, and follows those that come.
import { api, told } from '../../api/client';
import { follow } from '../../api/live.svelte';
import { linesOf } from '../../api/reads';
import type { Log } from '../../api/types';
import { Lines, type Page } from './lines';

export interface Of {
  /** Null for a task run outside any flow. */
  flowRunId: string | null;
  /** Only the lines of this task run. */
  taskRunId?: string | null;
  includeSubflows?: boolean;
}

const FIRST_PAGE = 2000;
const PAGE = 10_000;
/** The last so many lines of a run are shown; the download has all of them. */
export const MOST_LINES = 200_000;
// The field's listing gives no more at once.
const LISTED = 200;
const TOGETHER = 200;

export class LogSource {
  /** Counts up whenever `lines` has changed, which is too large to be watched. */
  version = $state(0);
  lines = new Lines();
  /** How many there are, as far as one knows. */
  total = $state(0);
  /** How many of the oldest ones are not here. */
  leftOut = $state(0);
  complete = $state(false);
  error = $state<unknown>(null);

  #stopped = false;
  #reading: Promise<void> | null = null;
  #waiting: Log[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly of: Of) {}

  /** Reads and follows until the returned function is called. */
  start(): () => void {
    const stop = follow(
      {
        ...(this.of.flowRunId === null ? {} : { flowRunIds: [this.of.flowRunId] }),
        // As the rest of the page follows it: so they share a stream.
        includeSubflows: !this.of.taskRunId,
        kinds: ['log'],
      },
      { log: (line) => this.#heard(line), opened: () => void this.read(), reset: () => void this.read() },
    );
    void this.read();
    return () => {
      this.#stopped = true;
      clearTimeout(this.#timer);
      stop();
    };
  }

  /** Reads what came after what is here. */
  read(): Promise<void> {
    this.#reading = (this.#reading ?? Promise.resolve()).then(() => this.#read());
    return this.#reading;
  }

  async #read(): Promise<void> {
    try {
      if (this.of.taskRunId) await this.#readTaskRun(this.of.taskRunId);
      else if (this.of.flowRunId !== null) await this.#readFlowRun(this.of.flowRunId);
      this.error = null;
      this.complete = true;
    } catch (error) {
      this.error = error;
    }
  }

  async #readFlowRun(id: string): Promise<void> {
    const include_subflows = this.of.includeSubflows ?? false;
    const ask = (query: { after?: number; before?: number; limit: number }) => linesOf(id, { ...query, include_subflows });
    let page = await ask({ after: this.lines.last, limit: this.lines.count ? PAGE : FIRST_PAGE });
    if (page.total > MOST_LINES && !this.lines.count) {
      await this.#readEnd(ask, page.total);
      return;
    }
    this.total = page.total;
    while (!this.#stopped) {
      this.#add(page);
      const last = page.seq.at(-1);
      if (!page.more || last === undefined) return;
      page = await ask({ after: last, limit: PAGE });
    }
  }

  /** The last lines of very many. */
  async #readEnd(ask: (query: { before: number; limit: number }) => ReturnType<typeof linesOf>, total: number): Promise<void> {
    const pages: Page[] = [];
    let [count, before, more] = [0, Number.MAX_SAFE_INTEGER, true];
    while (more && count < MOST_LINES && !this.#stopped) {
      const page = await ask({ before, limit: PAGE });
      pages.unshift(page);
      count += page.seq.length;
      more = page.more && page.seq.length > 0;
      before = page.seq[0] ?? 0;
    }
    for (const page of pages) this.lines.addPage(page);
    this.leftOut = Math.max(0, total - count);
    this.total = total;
    this.version++;
  }

  async #readTaskRun(id: string): Promise<void> {
    const known = this.lines.count;
    for (let offset = known; !this.#stopped && offset < MOST_LINES; offset += LISTED) {
      const lines = (await told(
        api.POST('/api/logs/filter', {
          body: { logs: { task_run_id: { any_: [id] } }, limit: LISTED, offset, sort: 'TIMESTAMP_ASC' },
        }),
      )) as unknown as Log[];
      this.lines.addLive(lines);
      this.total = this.lines.count;
      this.version++;
      if (lines.length < LISTED) return;
    }
  }

  #add(page: Page): void {
    if (page.seq.length === 0) return;
    this.lines.addPage(page);
    this.version++;
  }

  #heard(line: Log): void {
    const { taskRunId, flowRunId, includeSubflows } = this.of;
    if (taskRunId ? line.task_run_id !== taskRunId : !includeSubflows && line.flow_run_id !== flowRunId) return;
    this.#waiting.push(line);
    this.#timer ??= setTimeout(() => void this.#apply(), TOGETHER);
  }

  async #apply(): Promise<void> {
    // Lines that are read page by page come first, so that the rest goes to the end at once.
    await this.#reading;
    this.#timer = undefined;
    if (this.#stopped) return;
    const before = this.lines.count;
    this.lines.addLive(this.#waiting.splice(0));
    if (this.lines.count === before) return;
    this.total += this.lines.count - before;
    this.version++;
    if (!this.of.taskRunId) await this.#name();
  }

  /** Asks for the names of task runs that only their lines are known of. */
  async #name(): Promise<void> {
    const unnamed = this.lines.taskRuns
      .filter(({ name }) => !name)
      .map(({ id }) => id)
      .slice(0, LISTED);
    if (unnamed.length === 0) return;
    try {
      const runs = await told(
        api.POST('/api/task_runs/filter', { body: { task_runs: { id: { any_: unnamed } }, limit: LISTED } }),
      );
      this.lines.nameTaskRuns(unnamed.map((id) => ({ id, name: runs.find((run) => run.id === id)?.name ?? '(deleted)' })));
      this.version++;
    } catch {
      // They are asked for again with the next lines.
    }
  }
}
