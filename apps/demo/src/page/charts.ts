import uPlot from 'uplot';
import type { Point } from '../supervisor/series.js';
import { byId } from './dom.js';
import { short } from './format.js';
import { colour } from './theme.js';

const DECADES = [1, 10, 100, 1_000, 10_000, 100_000];

/** The time that a chart shows, newest at the right. */
export const WINDOW_SECONDS = 120;

interface Line {
  readonly label: string;
  readonly colour: string;
  readonly value: (point: Point) => number | null;
  /** Filled down to the axis. */
  readonly area?: boolean;
  /** On a scale of its own, at the right. */
  readonly right?: boolean;
}

interface ChartSpec {
  readonly id: string;
  readonly lines: readonly Line[];
  /** Orders of magnitude apart: a logarithmic scale. */
  readonly logarithmic?: boolean;
  /** The end of the scale at the right; absent: the line's highest value. */
  readonly rightMax?: number;
}

const SPECS: readonly ChartSpec[] = [
  {
    id: 'chart-reads',
    logarithmic: true,
    lines: [
      { label: 'reads/s', colour: 'cache', value: (point) => Math.max(1, point.readsPerSecond) },
      {
        label: 'database queries/s',
        colour: 'store',
        area: true,
        value: (point) => Math.max(1, point.storeQueriesPerSecond),
      },
    ],
  },
  {
    id: 'chart-writes',
    lines: [
      {
        label: 'cache',
        colour: 'cache',
        area: true,
        value: (point) => sum(point.writeStoreMs, point.writeCacheMs),
      },
      { label: 'store', colour: 'store', area: true, value: (point) => point.writeStoreMs },
    ],
  },
  {
    id: 'chart-feed',
    lines: [
      { label: 'oldest change, ms', colour: 'feed', area: true, value: (point) => point.feedLagMs },
      { label: 'jobs', colour: 'queue', right: true, value: (point) => point.queueDepth },
    ],
  },
  {
    id: 'chart-hits',
    rightMax: 100,
    lines: [
      { label: 'writes/s', colour: 'queue', area: true, value: (point) => point.writesPerSecond },
      {
        label: 'hit rate, %',
        colour: 'cache',
        right: true,
        value: (point) => (point.hitRate === null ? null : point.hitRate * 100),
      },
    ],
  },
];

/** The four charts; drawn anew when the theme or the width changes. */
export class Charts {
  #plots: { readonly spec: ChartSpec; readonly plot: uPlot; readonly holder: HTMLElement }[] = [];
  #points: readonly Point[] = [];

  constructor() {
    this.build();
    new ResizeObserver(() => this.#resize()).observe(byId('main'));
  }

  build(): void {
    for (const { plot } of this.#plots) plot.destroy();
    this.#plots = SPECS.map((spec) => {
      const holder = byId(spec.id);
      return { spec, holder, plot: new uPlot(optionsOf(spec, holder), dataOf(spec, this.#points), holder) };
    });
  }

  show(points: readonly Point[]): void {
    this.#points = points;
    for (const { spec, plot } of this.#plots) plot.setData(dataOf(spec, points));
  }

  #resize(): void {
    for (const { plot, holder } of this.#plots) {
      const { width, height } = sizeOf(holder);
      if (width !== plot.width) plot.setSize({ width, height });
    }
  }
}

function optionsOf(spec: ChartSpec, holder: HTMLElement): uPlot.Options {
  const axis = { stroke: colour('muted'), font: '12px system-ui, sans-serif', ticks: { show: false } };
  const right = spec.lines.some((line) => line.right === true);
  return {
    ...sizeOf(holder),
    legend: { show: false },
    cursor: { show: false },
    padding: [8, right ? 8 : 20, 0, 0],
    scales: {
      x: { time: false, range: [-WINDOW_SECONDS, 0] },
      y: spec.logarithmic
        ? { distr: 3, range: (_, __, max) => [1, 10 ** Math.ceil(Math.log10(Math.max(10, max ?? 10)))] }
        : { range: (_, __, max) => [0, Math.max(1, (max ?? 1) * 1.1)] },
      right: { range: (_, __, max) => [0, spec.rightMax ?? Math.max(5, (max ?? 1) * 1.1)] },
    },
    axes: [
      {
        ...axis,
        size: 28,
        grid: { show: false },
        splits: () => [-120, -90, -60, -30, 0],
        values: (_, splits) => splits.map((split) => (split === 0 ? 'now' : `${split} s`)),
      },
      {
        ...axis,
        size: 52,
        grid: { stroke: colour('line'), width: 1 },
        values: (_, splits) => splits.map(tick),
        ...(spec.logarithmic === true ? { splits: () => DECADES } : {}),
      },
      ...(right ? [{ ...axis, scale: 'right', side: 1 as const, size: 44, grid: { show: false } }] : []),
    ],
    series: [
      {},
      ...spec.lines.map((line) => ({
        label: line.label,
        scale: line.right === true ? 'right' : 'y',
        stroke: colour(line.colour),
        width: 2,
        points: { show: false },
        ...(line.area === true ? { fill: `${colour(line.colour)}38` } : {}),
      })),
    ],
  };
}

function dataOf(spec: ChartSpec, points: readonly Point[]): uPlot.AlignedData {
  const newest = points.at(-1)?.atMs ?? 0;
  const shown = points.filter((point) => point.atMs >= newest - WINDOW_SECONDS * 1_000);
  return [
    shown.map((point) => (point.atMs - newest) / 1_000),
    ...spec.lines.map((line) => shown.map((point) => line.value(point))),
  ];
}

function sizeOf(holder: HTMLElement): { width: number; height: number } {
  return { width: Math.max(200, Math.floor(holder.clientWidth)), height: 200 };
}

function tick(value: number | null): string {
  if (value === null) return '';
  return value >= 1_000 ? `${value / 1_000}k` : short(value).replace(/\.0+$/, '');
}

function sum(a: number | null, b: number | null): number | null {
  return a === null ? null : a + (b ?? 0);
}
