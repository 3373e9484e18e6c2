// What happens on the server, as it happens: one stream for all parts of a page that follow the same runs, only while it is seen.
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import { API, authorization } from './client';
import type { FlowRun, Log, TaskRun } from './types';

export interface Followed {
  /** Only these flow runs; all, if left out. */
  flowRunIds?: readonly string[];
  includeSubflows?: boolean;
  kinds: readonly Kind[];
}

type Kind = 'flow-run' | 'task-run' | 'log';

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

interface Following {
  kinds: readonly Kind[];
  listener: Listener;
  /** It has been told that the stream is there. */
  joined: boolean;
}

const streams = new Map<string, FollowedStream>();

/** Follows what happens until the returned function is called. Those who follow the same runs share a connection. */
export function follow(followed: Followed, listener: Listener): () => void {
  const query = new URLSearchParams(followed.flowRunIds?.map((id) => ['flow_run_id', id]));
  if (followed.includeSubflows) query.set('include_subflows', 'true');
  const runs = query.toString();
  const stream = streams.get(runs) ?? new FollowedStream(runs);
  streams.set(runs, stream);
  const following: Following = { kinds: followed.kinds, listener, joined: false };
  stream.add(following);
  return () => stream.remove(following);
}

class FollowedStream {
  private lastEventId = '';
  private request: AbortController | null = null;
  private stopped = false;
  private wait = FIRST_WAIT;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly followings = new Set<Following>();
  /** The kinds that the server has been asked for. */
  private kinds = '';
  private open = false;

  constructor(private readonly runs: string) {
    document.addEventListener('visibilitychange', this.look);
  }

  add(following: Following): void {
    this.followings.add(following);
    this.follow();
    // Events of its kinds come already: it is told once it has got its way to stop.
    if (this.kinds === this.wanted() && this.open) queueMicrotask(() => this.join(following));
  }

  remove(following: Following): void {
    this.followings.delete(following);
    if (this.followings.size > 0) return this.follow();
    this.stopped = true;
    streams.delete(this.runs);
    document.removeEventListener('visibilitychange', this.look);
    this.close();
  }

  private wanted(): string {
    return [...new Set([...this.followings].flatMap(({ kinds }) => kinds))].sort().join(',');
  }

  /** Asks for what is wanted now, if that is something else; the new connection goes on after the last event of the old one. */
  private follow(): void {
    if (this.kinds === this.wanted()) return;
    this.close();
    // Several parts of a page begin to follow at once.
    queueMicrotask(this.look);
  }

  private join(following: Following): void {
    if (following.joined || !this.followings.has(following)) return;
    following.joined = true;
    following.listener.opened?.();
  }

  // A tab that nobody sees costs neither a connection (a browser has six for a server) nor work; it catches up when it is seen.
  private readonly look = (): void => {
    if (document.hidden) this.close();
    else if (this.request === null && !this.stopped) void this.connect();
  };

  private close(): void {
    clearTimeout(this.timer);
    this.request?.abort();
    this.request = null;
    this.open = false;
  }

  private async connect(): Promise<void> {
    const request = new AbortController();
    this.request = request;
    this.kinds = this.wanted();
    // Without a place to go on from, everybody has missed something.
    if (!this.lastEventId) for (const following of this.followings) following.joined = false;
    const headers: Record<string, string> = { ...authorization(), Accept: 'text/event-stream' };
    if (this.lastEventId) headers['Last-Event-ID'] = this.lastEventId;
    try {
      const query = `kinds=${this.kinds}${this.runs && `&${this.runs}`}`;
      const response = await fetch(`${API}/events/stream?${query}`, {
        headers,
        signal: request.signal,
        cache: 'no-store',
      });
      if (this.request !== request) return; // it was given up for another just as it opened
      if (!response.ok || response.body === null) throw new Error(`${response.status}`);
      this.heard();
      this.open = true;
      for (const following of this.followings) this.join(following);
      await this.read(response.body, request);
    } catch {
      // it is tried again below
    }
    if (this.stopped || this.request !== request) return;
    this.open = false;
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
    const data: unknown = event.event === 'position' ? null : JSON.parse(event.data);
    for (const { listener } of this.followings) {
      switch (event.event) {
        case 'flow-run':
          listener.flowRun?.(data as FlowRun);
          break;
        case 'task-run':
          listener.taskRun?.(data as TaskRun);
          break;
        case 'log':
          listener.log?.(data as Log);
          break;
        case 'deleted':
          listener.deleted?.((data as { flow_run_id: string }).flow_run_id);
          break;
        case 'reset':
          listener.reset();
      }
    }
  }
}
