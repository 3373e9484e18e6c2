// A task run as it goes on, with the flow run it belongs to.
import { api, ApiError, told } from '../api/client';
import { follow } from '../api/live.svelte';
import { ENDED, type FlowRun, type TaskRun } from '../api/types';

export class FollowedTaskRun {
  run = $state.raw<TaskRun | null>(null);
  flowRun = $state.raw<FlowRun | null>(null);
  missing = $state(false);
  deleted = $state(false);
  error = $state<unknown>(null);
  #listeners = new Set<() => void>();

  constructor(readonly id: string) {}

  get ended(): boolean {
    return this.run?.state_type != null && ENDED.has(this.run.state_type);
  }

  /** Reads and follows until the returned function is called. */
  start(): () => void {
    let stopped = false;
    let stop = (): void => undefined;
    void this.read().then(() => {
      if (this.run && !stopped) stop = this.#follow(this.run.flow_run_id);
    });
    return () => {
      stopped = true;
      stop();
    };
  }

  async read(): Promise<void> {
    try {
      const path = { task_run_id: this.id };
      this.#set((await told(api.GET('/api/task_runs/{task_run_id}', { params: { path } }))) as unknown as TaskRun);
      this.error = null;
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) {
        if (this.run) this.deleted = true;
        else this.missing = true;
      } else if (!this.run) this.error = error;
      return;
    }
    const flowRunId = this.run?.flow_run_id;
    if (flowRunId) await this.#readFlowRun(flowRunId);
  }

  /** Tells that the task run has changed until the returned function is called. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #follow(flowRunId: string | null): () => void {
    // A task run outside any flow can only be found among those of all.
    const followed = flowRunId === null ? {} : { flowRunIds: [flowRunId] };
    if (flowRunId === null && this.ended) return () => undefined;
    return follow(
      { ...followed, kinds: ['flow-run', 'task-run'] },
      {
        taskRun: (run) => {
          if (run.id !== this.id) return;
          this.#set(run);
          this.#tell();
        },
        flowRun: (run) => {
          if (run.id === flowRunId) this.flowRun = run;
        },
        deleted: (id) => {
          if (id === flowRunId) this.deleted = true;
        },
        opened: () => this.#again(),
        reset: () => this.#again(),
      },
    );
  }

  #again(): void {
    void this.read();
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }

  async #readFlowRun(id: string): Promise<void> {
    try {
      const path = { flow_run_id: id };
      this.flowRun = (await told(api.GET('/api/flow_runs/{flow_run_id}', { params: { path } }))) as unknown as FlowRun;
    } catch {
      // The page is whole without it.
    }
  }

  #set(run: TaskRun): void {
    if (this.run?.updated && run.updated && run.updated < this.run.updated) return;
    this.run = run;
  }
}
