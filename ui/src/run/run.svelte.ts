// A flow run as it goes on: read at once, and again when the stream of events is there; then it follows what happens.
import { api, ApiError, told } from '../api/client';
import { follow } from '../api/live.svelte';
import { ancestorsOf, taskRunCounts, type Ancestor } from '../api/reads';
import { ENDED, type FlowRun, type StateType, type TaskRun } from '../api/types';
import { throttled } from '../parts/throttled';

export interface TaskRunListener {
  /** Task runs that are new or have changed, each once, as they are now. */
  changed(runs: readonly TaskRun[]): void;
  /** Something may have been missed. */
  reset(): void;
}

const TOGETHER = 200;

export class FollowedRun {
  run = $state.raw<FlowRun | null>(null);
  missing = $state(false);
  /** It was there, and is gone now. */
  deleted = $state(false);
  error = $state<unknown>(null);
  counts = $state.raw<Partial<Record<StateType, number>> | null>(null);
  subflowCount = $state(0);
  /** From the outermost run to the parent. */
  ancestors = $state.raw<readonly Ancestor[]>([]);

  #listeners = new Set<TaskRunListener>();
  #changed = new Map<string, TaskRun>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #numbers = throttled(() => this.#count());

  constructor(readonly id: string) {}

  get ended(): boolean {
    return this.run?.state_type != null && ENDED.has(this.run.state_type);
  }

  start(): () => void {
    // The timeline follows the subflow runs too: so the two share a stream.
    const stop = follow(
      { flowRunIds: [this.id], includeSubflows: true, kinds: ['flow-run', 'task-run'] },
      {
        flowRun: (run) => {
          if (run.id === this.id) this.#set(run);
        },
        taskRun: (run) => {
          if (run.flow_run_id === this.id) this.#heard(run);
        },
        deleted: (id) => {
          if (id === this.id) this.deleted = true;
        },
        opened: () => this.#again(),
        reset: () => this.#again(),
      },
    );
    void this.read().then(() => this.#readBeside());
    return () => {
      stop();
      clearTimeout(this.#timer);
      this.#numbers.stop();
    };
  }

  async read(): Promise<void> {
    try {
      const path = { flow_run_id: this.id };
      this.#set((await told(api.GET('/api/flow_runs/{flow_run_id}', { params: { path } }))) as unknown as FlowRun);
      this.error = null;
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) {
        if (this.run) this.deleted = true;
        else this.missing = true;
      } else if (!this.run) this.error = error;
    }
  }

  /** Tells of task runs until the returned function is called. */
  onTaskRuns(listener: TaskRunListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #set(run: FlowRun): void {
    // An answer may be older than what the stream has told meanwhile.
    if (this.run?.updated && run.updated && run.updated < this.run.updated) return;
    this.run = run;
  }

  #again(): void {
    if (this.missing) return;
    void this.read();
    this.#numbers.soon();
    for (const listener of this.#listeners) listener.reset();
  }

  #heard(run: TaskRun): void {
    this.#changed.set(run.id, run);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      const changed = [...this.#changed.values()];
      this.#changed.clear();
      this.#numbers.soon();
      for (const listener of this.#listeners) listener.changed(changed);
    }, TOGETHER);
  }

  async #readBeside(): Promise<void> {
    if (!this.run) return;
    this.#numbers.now();
    if (!this.run.parent_task_run_id) return;
    try {
      this.ancestors = await ancestorsOf(this.id);
    } catch {
      // The page is whole without it.
    }
  }

  async #count(): Promise<void> {
    try {
      const body = { flow_runs: subflowsOf(this.id) };
      [this.counts, this.subflowCount] = await Promise.all([
        taskRunCounts(this.id),
        told(api.POST('/api/flow_runs/count', { body })),
      ]);
    } catch {
      // The next change asks again.
    }
  }
}

/** The filter for the subflow runs of a run. */
export function subflowsOf(id: string) {
  return { parent_flow_run_id: { any_: [id] } };
}
