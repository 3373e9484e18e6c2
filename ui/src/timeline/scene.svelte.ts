// What a timeline shows of a flow run, and how: read from the server, kept up to date by events, laid out, and looked at.
import type { FlowRun, TaskRun } from '../api/types';
import { ENDED, GOING_ON } from '../api/types';
import { Axis, gapsOf } from './axis';
import type { Colours } from './colours';
import { allEdges, edgesOf, type Edge } from './edges';
import { Graph, type Change, type FlowState } from './model';
import type { Picture } from './picture';
import { read, readTask } from './reading';
import { Rows, begin, type Block, type Target } from './rows';
import { fitted, isWhole, kept, type Bounds, type View } from './viewport';

// Of a flow run that the server groups, tasks with so few runs are read at once, if there are no more of them than that.
const MOST_SMALL_TASKS = 24;
const NAME_PIXELS = 110;
const LEAST_SEEN = 0.02;
// While it goes on, some time ahead is shown.
const AHEAD = 1.03;

export class Scene {
  /** Grows when something is drawn otherwise. */
  revision = $state(0);
  /** Grows when nodes have come, or blocks are elsewhere. */
  structure = $state(0);
  error = $state<unknown>(null);
  root = $state.raw<Graph | null>(null);
  view = $state.raw<View>({ from: 0, to: 1 });
  /** All of it is seen, also when there will be more. */
  whole = $state(true);
  hovered = $state.raw<Target | null>(null);
  focused = $state.raw<Target | null>(null);
  selected = $state.raw<Target | null>(null);
  search = $state('');
  found = $state(0);
  /** How many task runs there are. */
  total = $state(0);
  /** The flow run goes on. */
  going = $state(false);
  /** What is being read for somebody who has opened it. */
  busy = $state(false);

  readonly rows = new Rows();
  axis = new Axis();
  width = 800;
  private readonly subflows = new Map<string, Graph>();
  private readonly opened = new Set<string>();
  private edges: readonly Edge[] = [];
  private lit: readonly Edge[] = [];
  private hits: Picture['hits'] = null;
  private packedFor = 0;
  private bounds: Bounds = { from: 0, to: 1, least: LEAST_SEEN };
  private readonly waiting = new Map<string, TaskRun>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private again: ReturnType<typeof setTimeout> | undefined;
  private answered = 0;
  private stopped = false;

  constructor(readonly flowRunId: string) {}

  /** Reads everything anew that is shown. */
  async load(): Promise<void> {
    try {
      const begun = performance.now();
      const answer = await read(this.flowRunId);
      this.answered = performance.now() - begun;
      const root = this.root ?? new Graph(this.flowRunId, answer.states[0]?.at_ms ?? Date.now());
      root.read(answer);
      if (root.grouped) await this.loadSmallTasks(root);
      for (const graph of this.subflows.values()) graph.read(await read(graph.flowRunId));
      this.root = root;
      this.error = null;
      this.layOut();
    } catch (error) {
      this.error = error;
    }
  }

  private async loadSmallTasks(root: Graph): Promise<void> {
    const small = root.tasks.filter((task) => task.total < root.groupFrom);
    if (small.length > MOST_SMALL_TASKS) return;
    for (const answer of await Promise.all(small.map((task) => readTask(root.flowRunId, task.key, 0)))) root.read(answer);
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    clearTimeout(this.again);
  }

  // What happens ----------------------------------------------------------------------------------------------------------

  taskRun(run: TaskRun): void {
    this.waiting.set(run.id, run);
    this.timer ??= setTimeout(() => this.apply(), 100);
  }

  flowRun(run: FlowRun): void {
    const graph = run.id === this.flowRunId ? this.root : this.subflows.get(run.id);
    const at = run.state ? Date.parse(run.state.timestamp) - (graph?.origin ?? 0) : NaN;
    if (graph && run.state && at > (graph.states.at(-1)?.at ?? -Infinity)) {
      graph.states = [...graph.states, { type: run.state.type, name: run.state.name, message: run.state.message, at }];
      this.measure();
      this.revision++;
      // Those that had begun when it ended may have been told of too late.
      if (graph === this.root && run.state_type && ENDED.has(run.state_type)) this.loadSoon();
    }
    if (run.parent_task_run_id) this.adopt(run.parent_task_run_id, run.id);
  }

  private adopt(taskRunId: string, flowRunId: string): void {
    for (const graph of this.graphs()) {
      const node = graph.places.get(taskRunId);
      if (node === undefined || graph.child[node] === flowRunId) continue;
      graph.child[node] = flowRunId;
      this.revision++;
    }
  }

  private apply(): void {
    this.timer = undefined;
    if (!this.root) return;
    const runs = new Map<string, TaskRun[]>();
    for (const run of this.waiting.values()) {
      const of = runs.get(run.flow_run_id ?? '');
      if (of) of.push(run);
      else runs.set(run.flow_run_id ?? '', [run]);
    }
    this.waiting.clear();
    let structure = false;
    for (const graph of this.graphs()) {
      const events = runs.get(graph.flowRunId);
      if (!events) continue;
      const change = graph.merge(events, (taskKey) => this.takesIn(graph, taskKey));
      if (graph.grouped) this.loadSoon();
      structure = this.placed(graph, change) || structure;
    }
    this.measure();
    if (structure || this.bounds.to > 2 * this.packedFor) this.layOut();
    this.revision++;
  }

  /** Whether the runs of a task are known one by one, so that new ones belong to them. */
  private takesIn(graph: Graph, taskKey: string): boolean {
    const task = graph.tasks.find(({ key }) => key === taskKey);
    return !task || task.members.length >= task.total;
  }

  private placed(graph: Graph, change: Change): boolean {
    if (change.structure) return true;
    if (change.moved.length > 0) {
      this.rows.place(graph, change.moved);
      this.connect();
      this.structure++;
    }
    return false;
  }

  /** Reads again in a while: as seldom as it takes for the server not to mind. */
  loadSoon(): void {
    this.again ??= setTimeout(
      () => {
        this.again = undefined;
        void this.load();
      },
      Math.max(1000, this.answered * 10),
    );
  }

  // Where things are ------------------------------------------------------------------------------------------------------

  graphs(): Graph[] {
    return this.root ? [this.root, ...this.subflows.values()] : [];
  }

  layOut(): void {
    const { root } = this;
    if (!root) return;
    this.measure();
    this.packedFor = this.bounds.to;
    const gap = (NAME_PIXELS * (this.bounds.to - this.bounds.from)) / Math.max(200, this.width);
    this.rows.build(
      root,
      {
        isOpen: (graph, task) => this.opened.has(`${graph.flowRunId}/${graph.taskAt(task).key}`),
        subflow: (id) => (this.opened.has(id) ? this.subflows.get(id) : undefined),
      },
      gap,
    );
    this.hovered = this.anew(this.hovered);
    this.focused = this.anew(this.focused);
    this.selected = this.anew(this.selected);
    this.connect();
    this.find(this.search);
    this.structure++;
    this.revision++;
  }

  /** The same thing after everything has been laid out again. */
  private anew(target: Target | null): Target | null {
    if (!target) return null;
    const { block, node } = target;
    const found =
      node === null
        ? this.rows.blocks.find((one) => one.kind === block.kind && one.graph === block.graph && one.task === block.task)
        : this.rows.blockOf(block.graph, node);
    return found ? { block: found, node: found.lanes ? node : null } : null;
  }

  private connect(): void {
    this.edges = allEdges(this.rows) ?? [];
    this.light();
  }

  light(): void {
    const target = this.hovered ?? this.focused ?? this.selected;
    this.lit = target ? edgesOf(this.rows, target) : [];
    this.revision++;
  }

  /** Takes the times in: how long all of it is, and which gaps are drawn short. */
  measure(): void {
    const { root } = this;
    if (!root) return;
    const last = root.states.at(-1);
    this.total = root.total;
    this.going = last !== undefined && GOING_ON.has(last.type);
    let end = last?.at ?? 0;
    for (const { lastEnd, firstStart } of root.tasks) end = Math.max(end, lastEnd || 0, firstStart || 0);
    if (this.going) end = Math.max(end, this.now) * AHEAD;
    this.axis = new Axis(gapsOf(root.states, end));
    this.bounds = { from: 0, to: Math.max(1, this.axis.drawn(end)), least: LEAST_SEEN };
    this.view = this.whole ? fitted(this.bounds) : kept(this.view, this.bounds);
  }

  /** Time goes by. */
  tick(): void {
    this.measure();
    this.revision++;
  }

  /** Until when what has not ended is drawn. */
  get now(): number {
    const last = this.root?.states.at(-1);
    if (!this.root || !last) return 0;
    return ENDED.has(last.type) ? last.at : Math.max(last.at, Date.now() - this.root.origin);
  }

  /** Looks at another part; `change` gets the part that is seen and the bounds. */
  look(change: (view: View, bounds: Bounds) => View): void {
    this.view = change(this.view, this.bounds);
    this.whole = isWhole(this.view, this.bounds);
    this.revision++;
  }

  fit(): void {
    this.look((_, bounds) => fitted(bounds));
  }

  get extent(): Bounds {
    return this.bounds;
  }

  // What one does ---------------------------------------------------------------------------------------------------------

  /** Opens or folds a group or a subflow; says whether there was anything to open. */
  async toggle(target: Target): Promise<boolean> {
    const { block, node } = target;
    const child = node === null ? null : (block.graph.child[node] ?? null);
    const key =
      block.kind === 'subflow'
        ? block.graph.flowRunId
        : (child ?? `${block.graph.flowRunId}/${block.graph.tasks[block.task]?.key}`);
    if (block.kind !== 'subflow' && child === null && node !== null) return false;
    if (block.kind === 'loose' && child === null) return false;
    if (this.opened.delete(key)) {
      this.subflows.delete(key);
    } else {
      this.opened.add(key);
      try {
        this.busy = true;
        if (child !== null) await this.loadSubflow(child);
        else if (await this.loadMore(block)) void this.loadRest(key, block);
      } catch (error) {
        this.opened.delete(key);
        throw error;
      } finally {
        this.busy = false;
      }
    }
    this.layOut();
    return true;
  }

  private async loadSubflow(flowRunId: string): Promise<void> {
    const graph = new Graph(flowRunId, this.root?.origin ?? 0);
    graph.read(await read(flowRunId));
    this.subflows.set(flowRunId, graph);
  }

  /** Reads more runs of a group of which the server has told only how many there are; says whether that was not all. */
  async loadMore(block: Block): Promise<boolean> {
    const task = block.graph.tasks[block.task];
    if (!task || task.members.length >= task.total) return false;
    const before = task.members.length;
    block.graph.read(await readTask(block.graph.flowRunId, task.key, before));
    this.layOut();
    return task.members.length > before && task.members.length < task.total;
  }

  /** Reads all runs of a group, bit by bit, as long as it is open. */
  private async loadRest(key: string, block: Block): Promise<void> {
    try {
      while (!this.stopped && this.opened.has(key) && (await this.loadMore(block)));
    } catch (error) {
      this.error = error;
    }
  }

  /** Marks what has this text in its name. */
  find(text: string): void {
    this.search = text;
    const wanted = text.trim().toLowerCase();
    this.found = 0;
    this.hits = wanted === '' ? null : new Map();
    for (const graph of wanted === '' ? [] : this.graphs()) {
      const hits = new Uint8Array(graph.start.length);
      for (let node = 0; node < graph.count; node++) {
        if (!(graph.name[node] as string).toLowerCase().includes(wanted)) continue;
        hits[node] = 1;
        this.found++;
      }
      this.hits?.set(graph, hits);
    }
    this.revision++;
  }

  isFound(graph: Graph, node: number): boolean {
    return this.hits === null || this.hits.get(graph)?.[node] === 1;
  }

  /** The state that the flow run was in, as the band above everything shows it. */
  stateAt(time: number): FlowState | null {
    return this.root?.states.findLast(({ at }) => at <= time) ?? null;
  }

  target(taskRunId: string): Target | null {
    for (const graph of this.graphs()) {
      const node = graph.places.get(taskRunId);
      const block = node === undefined ? null : this.rows.blockOf(graph, node);
      if (block && node !== undefined) return { block, node: block.lanes ? node : null };
    }
    return null;
  }

  /** When what a target stands for begins, in the time that is drawn. */
  beginOf({ block, node }: Target): number {
    const time = node === null ? (block.graph.tasks[block.task]?.firstStart ?? 0) : begin(block.graph, node);
    return this.axis.drawn(Number.isNaN(time) ? 0 : time);
  }

  picture(width: number, height: number, scroll: number, colours: Colours): Picture | null {
    const { root, rows, axis, view, now, going, edges, lit, hovered, focused, selected, hits } = this;
    return (
      root && {
        root,
        rows,
        axis,
        view,
        width,
        height,
        scroll,
        now,
        going,
        edges,
        lit,
        hovered,
        focused,
        selected,
        hits,
        colours,
      }
    );
  }
}
