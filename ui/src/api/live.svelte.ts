// What happens on the server, as it happens: one stream for each page that follows something, only while the page is seen.
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import { API, authorization } from './client';
import type { FlowRun, Log, TaskRun } from './types';

export interface Followed {
  /** Only these flow runs; all, if left out. */
  flowRunIds?: readonly string[];
  includeSubflows?: boolean;
  kinds: readonly ('flow-run' | 'task-run' | 'log')[];
}

export interface Listener {
  flowRun?(run: FlowRun): void;
  taskRun?(run: TaskRun): void;
  log?(line: Log): void;
  deleted?(flowRunId: string): void;
  /** The stream is there (again): what happens from now on is told. What was read before may already be old. */
  opened?(): void;
  /** What was missed cannot be told: read everything anew. Also called when the connection is back after a loss. */
  reset(): void;
}

class Connection {
  /** Whether the server can be heard; the page says so when it cannot. */
  lost = $state(false);
}

export const connection = new Connection();

const FIRST_WAIT = 500;
const LONGEST_WAIT = 10_000;
// The server says something every 15 seconds.
const SILENCE = 40_000;

/** Follows what happens until the returned function is called. */
export function follow(followed: Followed, listener: Listener): () => void {
  const stream = new FollowedStream(followed, listener);
  stream.start();
  return () => stream.stop();
}

class FollowedStream {
  private lastEventId = '';
  private request: AbortController | null = null;
  private stopped = false;
  private wait = FIRST_WAIT;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly query: string;

  constructor(
    followed: Followed,
    private readonly listener: Listener,
  ) {
    const query = new URLSearchParams([['kinds', followed.kinds.join(',')]]);
    for (const id of followed.flowRunIds ?? []) query.append('flow_run_id', id);
    if (followed.includeSubflows) query.set('include_subflows', 'true');
    this.query = query.toString();
  }

  start(): void {
    document.addEventListener('visibilitychange', this.look);
    this.look();
  }

  stop(): void {
    this.stopped = true;
    document.removeEventListener('visibilitychange', this.look);
    this.close();
  }

  // A tab that nobody sees costs neither a connection (a browser has six for a server) nor work; it catches up when it is seen.
  private readonly look = (): void => {
    if (document.hidden) this.close();
    else if (this.request === null) void this.connect();
  };

  private close(): void {
    clearTimeout(this.timer);
    this.request?.abort();
    this.request = null;
  }

  private async connect(): Promise<void> {
    const request = new AbortController();
    this.request = request;
    const headers: Record<string, string> = { ...authorization(), Accept: 'text/event-stream' };
    if (this.lastEventId) headers['Last-Event-ID'] = this.lastEventId;
    try {
      const response = await fetch(`${API}/events/stream?${this.query}`, {
        headers,
        signal: request.signal,
        cache: 'no-store',
      });
      if (!response.ok || response.body === null) throw new Error(`${response.status}`);
      this.heard();
      this.listener.opened?.();
      await this.read(response.body, request);
    } catch {
      // it is tried again below
    }
    if (this.stopped || this.request !== request) return;
    connection.lost = true;
    this.timer = setTimeout(() => void this.connect(), this.wait * (0.75 + Math.random() / 2));
    this.wait = Math.min(this.wait * 2, LONGEST_WAIT);
  }

  private heard(): void {
    connection.lost = false;
    this.wait = FIRST_WAIT;
  }

  private async read(body: ReadableStream<Uint8Array>, request: AbortController): Promise<void> {
    const parser = createParser({ onEvent: (event) => this.tell(event) });
    const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
    let silence = setTimeout(() => void reader.cancel(), SILENCE);
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done || request.signal.aborted) return;
        clearTimeout(silence);
        silence = setTimeout(() => void reader.cancel(), SILENCE);
        parser.feed(value);
      }
    } finally {
      clearTimeout(silence);
    }
  }

  private tell(event: EventSourceMessage): void {
    if (event.id) this.lastEventId = event.id;
    switch (event.event) {
      case 'flow-run':
        return this.listener.flowRun?.(JSON.parse(event.data) as FlowRun);
      case 'task-run':
        return this.listener.taskRun?.(JSON.parse(event.data) as TaskRun);
      case 'log':
        return this.listener.log?.(JSON.parse(event.data) as Log);
      case 'deleted':
        return this.listener.deleted?.((JSON.parse(event.data) as { flow_run_id: string }).flow_run_id);
      case 'reset':
        return this.listener.reset();
    }
  }
}
