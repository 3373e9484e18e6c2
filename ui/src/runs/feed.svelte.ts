// The list of runs as it is on the server, live: read in pages, changed by what is told.
import { api, told } from '../api/client';
import { follow } from '../api/live.svelte';
import type { FlowRun, StateType } from '../api/types';
import { throttled, type Throttled } from '../parts/throttled';
import { EMPTY, RunList, type Listed } from './list';
import { belongs, criteriaOf, orderOf, type RunsQuery } from './query';
import { dotOf, withDots, type Dot } from './strip';

export type Counts = Partial<Record<StateType, number>>;

export const PAGE = 50;
const DOTS = 1000;
/** What is told is taken in so often, in milliseconds. */
const PACE = 200;
/** The total, and the tasks of what runs, are asked for again no more often than that. */
const COUNT_PACE = 4000;
const TASKS_PACE = 1000;
/** So many runs may be asked about at once. */
const MOST_ASKED = 200;

export class Feed {
  listed = $state.raw<Listed>(EMPTY);
  /** How many there are in all. */
  total = $state<number | null>(null);
  dots = $state.raw<readonly Dot[]>([]);
  counts = $state.raw<ReadonlyMap<string, Counts>>(new Map());
  error = $state<unknown>(null);
  /** It has been read once. */
  ready = $state(false);
  busy = $state(false);

  #list: RunList;
  #still = false;
  #wanted = PAGE;
  #reading = 0;
  readonly #changed = new Map<string, FlowRun>();
  readonly #deleted = new Set<string>();
  readonly #asked = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #counting: Throttled;
  readonly #countingTasks: Throttled;
  #stopped = false;
  readonly #unfollow: () => void;

  constructor(readonly query: RunsQuery) {
    this.#list = this.#empty();
    this.#counting = throttled(() => this.#count(), COUNT_PACE);
    this.#countingTasks = throttled(() => this.#countTasks(), TASKS_PACE);
    this.#unfollow = follow(
      { kinds: ['flow-run', 'task-run'] },
      {
        flowRun: (run) => {
          this.#changed.set(run.id, run);
          this.#soon();
        },
        taskRun: ({ flow_run_id: id }) => {
          if (id !== null) this.#askTasks([id]);
        },
        deleted: (id) => {
          this.#deleted.add(id);
          this.#soon();
        },
        reset: () => void this.read(),
      },
    );
    void this.read();
  }

  stop(): void {
    this.#stopped = true;
    this.#unfollow();
    clearTimeout(this.#timer);
    this.#counting.stop();
    this.#countingTasks.stop();
  }

  /** While it is pointed at, nothing in the list moves. */
  hold(still: boolean): void {
    this.#still = still;
    if (still) return;
    this.#list.settle();
    this.#show();
  }

  /** Reads everything that is shown anew. */
  async read(): Promise<void> {
    this.#counting.now();
    void this.#readDots();
    this.#reading++;
    await this.#ask(async () => {
      const runs = await this.#page(0, this.#wanted);
      this.#list = this.#empty();
      this.#list.read(runs, runs.length === this.#wanted);
      this.#askTasks(runs.map((run) => run.id));
    });
    this.#reading--;
    if (this.#changed.size + this.#deleted.size > 0) this.#soon();
  }

  async more(): Promise<void> {
    if (this.busy || !this.listed.more) return;
    await this.#ask(async () => {
      const from = this.#list.size;
      const runs = await this.#page(from, PAGE);
      this.#wanted = from + PAGE;
      this.#list.rules.most = this.#most();
      this.#list.read(runs, runs.length === PAGE);
      this.#askTasks(runs.map((run) => run.id));
    });
  }

  async #ask(question: () => Promise<void>): Promise<void> {
    this.busy = true;
    try {
      await question();
      this.error = null;
      this.#show();
    } catch (error) {
      this.error = error;
    } finally {
      this.busy = false;
      this.ready = true;
    }
  }

  async #page(offset: number, limit: number): Promise<FlowRun[]> {
    const body = { ...criteriaOf(this.query, Date.now()), sort: this.query.sort, offset, limit };
    return (await told(api.POST('/api/flow_runs/filter', { body }))) as FlowRun[];
  }

  async #count(): Promise<void> {
    try {
      this.total = await told(api.POST('/api/flow_runs/count', { body: criteriaOf(this.query, Date.now()) }));
    } catch {
      // the list itself says what is wrong
    }
  }

  async #readDots(): Promise<void> {
    const body = { ...criteriaOf(this.query, Date.now()), sort: 'START_TIME_DESC' as const, limit: DOTS };
    try {
      const runs = await told(api.POST('/api/ui/flow_runs/history', { body }));
      const now = Date.now();
      this.dots = runs.map((run) => ({
        id: run.id,
        type: run.state_type as StateType,
        at: Date.parse(run.timestamp),
        seconds: run.duration,
        since: run.state_type === 'RUNNING' ? now : null,
      }));
    } catch {
      // the list itself says what is wrong
    }
  }

  #askTasks(ids: readonly string[]): void {
    for (const id of ids) this.#asked.add(id);
    this.#countingTasks.soon();
  }

  async #countTasks(): Promise<void> {
    const shown = this.listed.runs.map((run) => run.id);
    const ids = shown.filter((id) => this.#asked.has(id)).slice(0, MOST_ASKED);
    if (!this.ready || ids.length === 0) {
      if (this.ready) this.#asked.clear();
      return;
    }
    for (const id of ids) this.#asked.delete(id);
    try {
      const counts = await told(api.POST('/api/ui/flow_runs/task_run_counts', { body: { flow_run_ids: ids } }));
      const known = ids.map((id) => [id, (counts[id] ?? {}) as Counts] as const);
      const kept = shown.flatMap((id) => (this.counts.has(id) ? [[id, this.counts.get(id) ?? {}] as const] : []));
      this.counts = new Map([...kept, ...known]);
    } catch {
      // bars are missing then
    }
  }

  #soon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      // What is told while the list is read may be newer than what is read: it is taken in afterwards.
      if (!this.#stopped && this.#reading === 0) this.#apply();
    }, PACE);
  }

  #apply(): void {
    const changed = [...this.#changed.values()];
    const deleted = [...this.#deleted];
    this.#changed.clear();
    this.#deleted.clear();
    const now = Date.now();
    const ours = changed.filter((run) => belongs(run, this.query, now));
    this.#list.apply(changed, deleted, this.#still);
    this.dots = withDots(this.dots, ours.map(dotOf), deleted, DOTS);
    this.#askTasks(changed.map((run) => run.id));
    this.#counting.soon();
    this.#show();
  }

  #show(): void {
    this.listed = this.#list.listed;
  }

  #empty(): RunList {
    return new RunList({
      belongs: (run) => belongs(run, this.query, Date.now()),
      order: orderOf(this.query.sort),
      most: this.#most(),
    });
  }

  // New runs make the list longer, but not without end.
  #most(): number {
    return this.#wanted + PAGE;
  }
}
