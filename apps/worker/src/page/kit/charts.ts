import type uPlot from 'uplot';
import { byId } from './dom.js';
import { short } from './format.js';
import { colour } from './theme.js';

const DECADES = [1, 10, 100, 1_000, 10_000, 100_000];

export interface ChartLine<Point> {
  readonly label: string;
  /** The name of a colour of the theme. */
  readonly colour: string;
  readonly value: (point: Point) => number | null;
  /** Filled down to the axis; `solid` hides what was drawn before it, as the parts of a sum that lie on each other. */
  readonly area?: boolean | 'solid';
  /** On a scale of its own, at the right. */
  readonly right?: boolean;
}

export interface ChartSpec<Point> {
  /** Of the element that holds it. */
  readonly id: string;
  readonly lines: readonly ChartLine<Point>[];
  /** Orders of magnitude apart: a logarithmic scale. */
  readonly logarithmic?: boolean;
  /** The end of the scale at the right; absent: the line's highest value. */
  readonly rightMax?: number;
}

/** Loaded by a script of its own before the page's module runs. */
const plotter = (): typeof uPlot => (globalThis as unknown as { readonly uPlot: typeof uPlot }).uPlot;

interface Drawn<Point> {
  readonly spec: ChartSpec<Point>;
  readonly plot: uPlot;
  readonly holder: HTMLElement;
}

/** Charts of the last moments, newest at the right; drawn anew when the theme or the width changes. */
export class Charts<Point extends { readonly atMs: number }> {
  readonly #specs: readonly ChartSpec<Point>[];
  readonly #windowSeconds: number;
  readonly #leastSeconds: number;
  #plots: Drawn<Point>[] = [];
  #points: readonly Point[] = [];

  /** What has been seen for a shorter time fills less than the window, and no less than `leastSeconds`. */
  constructor(specs: readonly ChartSpec<Point>[], windowSeconds: number, leastSeconds = windowSeconds) {
    this.#specs = specs;
    this.#windowSeconds = windowSeconds;
    this.#leastSeconds = leastSeconds;
    this.build();
    new ResizeObserver(() => this.#resize()).observe(byId('main'));
  }

  build(): void {
    for (const { plot } of this.#plots) plot.destroy();
    const Plot = plotter();
    this.#plots = this.#specs.map((spec) => {
      const holder = byId(spec.id);
      const options = optionsOf(spec, holder, () => this.#seconds);
      return { spec, holder, plot: new Plot(options, this.#data(spec), holder) };
    });
  }

  show(points: readonly Point[]): void {
    this.#points = points;
    for (const { spec, plot } of this.#plots) plot.setData(this.#data(spec));
  }

  /** The time that is shown, in whole minutes. */
  get #seconds(): number {
    const [first, last] = [this.#points[0]?.atMs ?? 0, this.#points.at(-1)?.atMs ?? 0];
    const seen = Math.ceil((last - first) / 60_000) * 60;
    return Math.min(this.#windowSeconds, Math.max(this.#leastSeconds, seen));
  }

  #data({ lines }: ChartSpec<Point>): uPlot.AlignedData {
    const newest = this.#points.at(-1)?.atMs ?? 0;
    const shown = this.#points.filter(({ atMs }) => atMs >= newest - this.#windowSeconds * 1_000);
    return [
      shown.map((point) => (point.atMs - newest) / 1_000),
      ...lines.map((line) => shown.map((point) => line.value(point))),
    ];
  }

  #resize(): void {
    for (const { plot, holder } of this.#plots) {
      const { width, height } = sizeOf(holder);
      // One that is not shown has no width; it is drawn when it is.
      if (holder.clientWidth > 0 && width !== plot.width) plot.setSize({ width, height });
    }
  }
}

function optionsOf<Point>(spec: ChartSpec<Point>, holder: HTMLElement, seconds: () => number): uPlot.Options {
  const axis = { stroke: colour('muted'), font: '12px system-ui, sans-serif', ticks: { show: false } };
  const right = spec.lines.some((line) => line.right === true);
  return {
    ...sizeOf(holder),
    legend: { show: false },
    cursor: { show: false },
    padding: [8, right ? 8 : 20, 0, 0],
    scales: {
      x: { time: false, range: () => [-seconds(), 0] },
      y:
        spec.logarithmic === true
          ? { distr: 3, range: (_, __, max) => [1, 10 ** Math.ceil(Math.log10(Math.max(10, max ?? 10)))] }
          : { range: (_, __, max) => [0, Math.max(1, (max ?? 1) * 1.1)] },
      right: { range: (_, __, max) => [0, spec.rightMax ?? Math.max(5, (max ?? 1) * 1.1)] },
    },
    axes: [
      {
        ...axis,
        size: 28,
        grid: { show: false },
        splits: () => [-1, -0.75, -0.5, -0.25, 0].map((share) => share * seconds()),
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
        ...(line.area ? { fill: `${colour(line.colour)}${line.area === 'solid' ? '' : '38'}` } : {}),
      })),
    ],
  };
}

function sizeOf(holder: HTMLElement): { width: number; height: number } {
  return { width: Math.max(200, Math.floor(holder.clientWidth)), height: 200 };
}

function tick(value: number | null): string {
  if (value === null) return '';
  return value >= 1_000 ? `${value / 1_000}k` : short(value).replace(/\.0+$/, '');
}
