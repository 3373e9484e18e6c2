// How long the runs of a flow took: a dot each, with the shape of its state. Only loaded where it is drawn.
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { StateType } from '../api/types';
import type { LastRun } from '../flows/activity';
import { FILLED, STATE_SHAPES } from '../parts/states';
import { duration } from '../parts/times';

export interface Drawn {
  show(runs: readonly LastRun[]): void;
  stop(): void;
}

export interface Pointed {
  run: LastRun;
  x: number;
  y: number;
}

interface Wishes {
  /** Of a run that began then, below the axis. */
  label: (moment: number) => string;
  onpoint: (pointed: Pointed | null) => void;
  onopen: (run: LastRun) => void;
}

const HEIGHT = 200;

function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

export function draw(target: HTMLElement, { label, onpoint, onopen }: Wishes): Drawn {
  let runs: readonly LastRun[] = [];
  const soft = colour('text-soft');
  const line = colour('line');
  const surface = colour('surface');
  const font = `12px ${getComputedStyle(document.body).fontFamily}`;

  function mark(context: CanvasRenderingContext2D, x: number, y: number, type: StateType): void {
    const paint = colour(type.toLowerCase());
    const ratio = devicePixelRatio;
    context.save();
    context.translate(x, y);
    context.scale(ratio, ratio);
    context.fillStyle = type === 'COMPLETED' ? paint : surface;
    context.beginPath();
    context.arc(0, 0, type === 'COMPLETED' ? 3.2 : 6, 0, 2 * Math.PI);
    context.fill();
    if (type !== 'COMPLETED') {
      context.scale(0.72, 0.72);
      context.translate(-8, -8);
      context.strokeStyle = context.fillStyle = paint;
      context.lineWidth = 2.6;
      context.lineCap = context.lineJoin = 'round';
      const shape = new Path2D(STATE_SHAPES[type]);
      context.stroke(shape);
      if (FILLED.has(type)) context.fill(shape);
    }
    context.restore();
  }

  function drawMarks(chart: uPlot): void {
    runs.forEach((run, n) =>
      mark(chart.ctx, chart.valToPos(n, 'x', true), chart.valToPos(run.seconds, 'y', true), run.state_type),
    );
  }

  function point(chart: uPlot): void {
    const run = chart.cursor.idx == null ? undefined : runs[chart.cursor.idx];
    if (!run || (chart.cursor.left ?? -1) < 0) return onpoint(null);
    const box = chart.over;
    const x = box.offsetLeft + chart.valToPos(chart.cursor.idx ?? 0, 'x');
    onpoint({ run, x, y: box.offsetTop + chart.valToPos(run.seconds, 'y') });
  }

  const axis = { stroke: soft, font, ticks: { stroke: line, width: 1, size: 4 } };
  const chart = new uPlot(
    {
      width: target.clientWidth,
      height: HEIGHT,
      padding: [8, 12, 0, 0],
      legend: { show: false },
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
      scales: {
        x: { time: false, range: (_, min, max) => [min - 0.5, max + 0.5] },
        y: { range: (_, __, max) => [0, max > 0 ? max * 1.12 : 1] },
      },
      axes: [
        {
          ...axis,
          grid: { show: false },
          space: 110,
          size: 28,
          incrs: [1, 2, 5, 10, 20, 50],
          values: (_, ticks) => ticks.map((n) => (runs[n]?.start_ms == null ? '' : label(runs[n].start_ms))),
        },
        { ...axis, grid: { stroke: line, width: 1 }, size: 68, values: (_, ticks) => ticks.map(duration) },
      ],
      series: [{}, { stroke: colour('line-strong'), width: 1, points: { show: false } }],
      hooks: { draw: [drawMarks], setCursor: [point] },
    },
    [[], []],
    target,
  );
  const opened = (): void => {
    const run = chart.cursor.idx == null ? undefined : runs[chart.cursor.idx];
    if (run) onopen(run);
  };
  chart.over.addEventListener('click', opened);
  const sized = new ResizeObserver(() => {
    if (target.clientWidth !== chart.width) chart.setSize({ width: target.clientWidth, height: HEIGHT });
  });
  sized.observe(target);
  return {
    show(now) {
      runs = now;
      chart.setData([now.map((_, n) => n), now.map((run) => run.seconds)]);
    },
    stop() {
      sized.disconnect();
      chart.destroy();
    },
  };
}
