// The task runs of one flow run, in columns: filled from an answer of the server, then kept up to date by events.
import type { Nodes, Timeline } from '../api/schema';
import { ENDED, STATE_TYPES, type StateType, type TaskRun } from '../api/types';

export const CODES = Object.fromEntries(STATE_TYPES.map((type, code) => [type, code])) as Record<StateType, number>;

/** For each state, whether it is an end. */
export const IS_END: readonly boolean[] = STATE_TYPES.map((type) => ENDED.has(type));

const CALLERS = '__parents__';
const FIRST_CAPACITY = 64;

export interface Activity {
  begin: number;
  width: number;
  running: readonly number[];
}

export interface Task {
  key: string;
  name: string;
  total: number;
  /** How many of its runs are in each state, by the state's code. */
  counts: Uint32Array;
  /** Those of its runs that are known, as places in the columns. */
  members: number[];
  firstStart: number;
  lastEnd: number;
  /** Only where its runs are not known one by one. */
  activity: Activity | null;
  /** Grows when anything about its runs has changed. */
  version: number;
}

export interface FlowState {
  type: StateType;
  name: string;
  message: string | null;
  at: number;
}

/** What a batch of events has changed. */
export interface Change {
  /** Nodes that are new, or begin at another time than they did. */
  moved: number[];
  /** A task was called for the first time, or for the first time so often that its runs are shown as a group. */
  structure: boolean;
  /** Any node at all. */
  any: boolean;
}

export class Graph {
  /** How many nodes there are in the columns. */
  count = 0;
  id: string[] = [];
  name: string[] = [];
  stateName: string[] = [];
  child: (string | null)[] = [];
  /** Those whose results a node was given, and those in which it was called. */
  parents: number[][] = [];
  callers: number[][] = [];
  /** Milliseconds since the origin; not a number where they are not known. */
  since = new Float64Array(FIRST_CAPACITY);
  start = new Float64Array(FIRST_CAPACITY);
  end = new Float64Array(FIRST_CAPACITY);
  state = new Uint8Array(FIRST_CAPACITY);
  task = new Uint32Array(FIRST_CAPACITY);
  attempt = new Uint16Array(FIRST_CAPACITY);
  runs = new Uint16Array(FIRST_CAPACITY);
  /** Where a node stands: the lane within its block. */
  lane = new Int32Array(FIRST_CAPACITY).fill(-1);

  tasks: Task[] = [];
  states: FlowState[] = [];
  /** It has so many task runs that they come task by task, when they are asked for. */
  grouped = false;
  total = 0;
  readonly places = new Map<string, number>();
  private readonly taskPlaces = new Map<string, number>();

  constructor(
    readonly flowRunId: string,
    /** What times are counted from, in milliseconds since the epoch. */
    readonly origin: number,
    /** So many task runs of one task make a group. */
    readonly groupFrom = 12,
  ) {}

  /** Takes in an answer of the server; what is known already is brought up to date. */
  read(answer: Timeline): void {
    this.total = answer.total;
    this.grouped = answer.grouped;
    this.states = answer.states.map(({ type, name, message, at_ms }) => ({ type, name, message, at: at_ms - this.origin }));
    const taskPlaces = answer.tasks.map((told) => {
      const place = this.taskPlace(told.task_key, told.name);
      const task = this.taskAt(place);
      if (answer.grouped) {
        task.total = told.total;
        task.counts.fill(0);
        for (const [type, number] of Object.entries(told.counts)) task.counts[CODES[type as StateType]] = number;
        task.firstStart = this.relative(told.first_start_ms);
        task.lastEnd = this.relative(told.last_end_ms);
        // The answer for one task has none.
        const { activity } = told;
        if (activity)
          task.activity = { begin: activity.begin_ms - this.origin, width: activity.width_ms, running: activity.running };
        task.version++;
      }
      return place;
    });
    this.addNodes(answer.nodes, taskPlaces);
  }

  private addNodes(nodes: Nodes, taskPlaces: readonly number[]): void {
    const places = nodes.id.map((id, n) => {
      const known = this.places.get(id);
      if (known !== undefined) return known;
      return this.add(id, nodes.name[n] ?? '', taskPlaces[nodes.task[n] ?? 0] ?? 0);
    });
    for (let n = 0; n < places.length; n++) {
      const place = places[n] as number;
      this.write(place, {
        state: CODES[nodes.state_type[n] ?? 'PENDING'],
        stateName: nodes.state_name[n] ?? '',
        start: this.relative(nodes.start_ms[n] ?? null),
        end: this.relative(nodes.end_ms[n] ?? null),
        attempt: nodes.attempt[n] ?? 1,
        runs: nodes.run_count[n] ?? 0,
      });
      this.child[place] = nodes.child_flow_run_id[n] ?? null;
      this.parents[place] = (nodes.parents[n] ?? []).map((parent) => places[parent] as number);
      this.callers[place] = (nodes.callers[n] ?? []).map((caller) => places[caller] as number);
    }
  }

  /** Takes in task runs as events tell them; `wanted` says of which tasks new ones are taken in, if they are grouped by the server. */
  merge(events: Iterable<TaskRun>, wanted: (taskKey: string) => boolean = () => true): Change {
    const change: Change = { moved: [], structure: false, any: false };
    for (const run of events) {
      let place = this.places.get(run.id);
      const isNew = place === undefined;
      if (place === undefined) {
        if (this.grouped && !wanted(run.task_key)) continue;
        const tasks = this.tasks.length;
        const taskPlace = this.taskPlace(run.task_key, shortName(run.task_key));
        const task = this.taskAt(taskPlace);
        place = this.add(run.id, run.name, taskPlace);
        if (this.tasks.length > tasks || task.members.length === this.groupFrom) change.structure = true;
        if (!this.grouped) this.total++;
      } else if (this.isOld(place, run)) continue;
      const began = this.start[place];
      this.mergeOne(place, run);
      change.any = true;
      if (isNew || !Object.is(began, this.start[place])) change.moved.push(place);
    }
    return change;
  }

  private mergeOne(place: number, run: TaskRun): void {
    const end = run.end_time === null ? NaN : Date.parse(run.end_time) - this.origin;
    const start = run.start_time === null ? end : Date.parse(run.start_time) - this.origin;
    this.name[place] = run.name;
    this.write(place, {
      state: CODES[run.state_type ?? 'PENDING'],
      stateName: run.state_name ?? '',
      start,
      end,
      attempt: run.flow_run_run_count,
      runs: run.run_count,
    });
    const parents: number[] = [];
    const callers: number[] = [];
    for (const [parameter, given] of Object.entries(run.task_inputs)) {
      for (const source of given) {
        const from = this.places.get(String(source['id']));
        if (from !== undefined && from !== place) (parameter === CALLERS ? callers : parents).push(from);
      }
    }
    this.parents[place] = parents;
    this.callers[place] = callers;
  }

  /** Events may be older than what was read: nothing goes back from its end, unless it is executed again. */
  private isOld(place: number, run: TaskRun): boolean {
    const attempt = this.attempt[place] as number;
    const runs = this.runs[place] as number;
    if (run.flow_run_run_count !== attempt) return run.flow_run_run_count < attempt;
    if (run.run_count !== runs) return run.run_count < runs;
    return IS_END[this.state[place] as number] === true && !ENDED.has(run.state_type ?? 'PENDING');
  }

  private write(
    place: number,
    told: { state: number; stateName: string; start: number; end: number; attempt: number; runs: number },
  ): void {
    const task = this.taskAt(this.task[place] as number);
    if (!this.grouped) {
      const before = task.counts[this.state[place] as number] as number;
      if (before > 0) task.counts[this.state[place] as number] = before - 1;
      task.counts[told.state] = (task.counts[told.state] as number) + 1;
      if (!(told.start >= task.firstStart)) task.firstStart = Number.isNaN(told.start) ? task.firstStart : told.start;
      if (!(told.end <= task.lastEnd)) task.lastEnd = Number.isNaN(told.end) ? task.lastEnd : told.end;
    }
    task.version++;
    this.state[place] = told.state;
    this.stateName[place] = told.stateName;
    this.start[place] = told.start;
    this.end[place] = told.end;
    this.attempt[place] = told.attempt;
    this.runs[place] = told.runs;
  }

  private add(id: string, name: string, taskPlace: number): number {
    const place = this.count++;
    if (place >= this.start.length) this.grow();
    const task = this.taskAt(taskPlace);
    this.id.push(id);
    this.name.push(name);
    this.stateName.push('');
    this.child.push(null);
    this.parents.push([]);
    this.callers.push([]);
    this.since[place] = createdAt(id) - this.origin;
    this.start[place] = NaN;
    this.end[place] = NaN;
    this.state[place] = CODES.PENDING;
    this.task[place] = taskPlace;
    this.places.set(id, place);
    task.members.push(place);
    if (!this.grouped) {
      task.total++;
      task.counts[CODES.PENDING] = (task.counts[CODES.PENDING] as number) + 1;
    }
    return place;
  }

  taskAt(place: number): Task {
    return this.tasks[place] as Task;
  }

  taskOf(node: number): Task {
    return this.tasks[this.task[node] as number] as Task;
  }

  /** Whether the runs of a task are shown together. */
  isGroup(task: Task): boolean {
    return task.total >= this.groupFrom || task.members.length < task.total;
  }

  private taskPlace(key: string, name: string): number {
    const known = this.taskPlaces.get(key);
    if (known !== undefined) return known;
    this.taskPlaces.set(key, this.tasks.length);
    return (
      this.tasks.push({
        key,
        name,
        total: 0,
        counts: new Uint32Array(STATE_TYPES.length),
        members: [],
        firstStart: NaN,
        lastEnd: NaN,
        activity: null,
        version: 0,
      }) - 1
    );
  }

  private relative(milliseconds: number | null): number {
    return milliseconds === null ? NaN : milliseconds - this.origin;
  }

  private grow(): void {
    const size = this.start.length * 2;
    const grown = <T extends Float64Array | Uint8Array | Uint16Array | Uint32Array | Int32Array>(old: T, fresh: T): T => {
      fresh.set(old);
      return fresh;
    };
    this.since = grown(this.since, new Float64Array(size));
    this.start = grown(this.start, new Float64Array(size));
    this.end = grown(this.end, new Float64Array(size));
    this.state = grown(this.state, new Uint8Array(size));
    this.task = grown(this.task, new Uint32Array(size));
    this.attempt = grown(this.attempt, new Uint16Array(size));
    this.runs = grown(this.runs, new Uint16Array(size));
    this.lane = grown(this.lane, new Int32Array(size).fill(-1));
  }
}

/** When a record was made, in milliseconds since the epoch: our ids begin with it. */
export function createdAt(id: string): number {
  return id.charAt(14) === '7' ? parseInt(id.slice(0, 8) + id.slice(9, 13), 16) : NaN;
}

/** A task's key as people call the task: `orders.load` is `load`. */
export function shortName(taskKey: string): string {
  return taskKey.slice(taskKey.lastIndexOf('.') + 1).replace(/-[0-9a-f]{8}$/, '');
}

/** A task run's name without what makes it unique in the world: `load-b4598a4a-3` is `load-3`. */
export function label(name: string): string {
  return name.replace(/-[0-9a-f]{8}(-\d+)$/, '$1');
}
