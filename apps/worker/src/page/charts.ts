import type { Point } from '../recorder.js';
import type { ChartSpec } from './kit/index.js';

/** The time that a chart shows: ten minutes. */
export const WINDOW_SECONDS = 600;

/** What it shows at first. */
export const LEAST_SECONDS = 120;

const outcomes = [
  'updatedPerSecond',
  'invalidatedPerSecond',
  'bufferedPerSecond',
  'deferredPerSecond',
] as const;

/** The sum of the first outcomes: each area lies on the ones before it. */
const upTo =
  (count: number) =>
  (point: Point): number =>
    outcomes.slice(0, count).reduce((sum, name) => sum + point[name], 0);

export const CHARTS: readonly ChartSpec<Point>[] = [
  {
    id: 'chart-reads',
    logarithmic: true,
    lines: [
      { label: 'reads/s', colour: 'cache', value: ({ readsPerSecond }) => Math.max(1, readsPerSecond) },
      {
        label: 'loads/s',
        colour: 'store',
        area: true,
        value: ({ loadsPerSecond }) => Math.max(1, loadsPerSecond),
      },
    ],
  },
  {
    id: 'chart-hits',
    lines: [
      {
        label: 'hit rate, %',
        colour: 'cache',
        area: true,
        value: ({ hitRate }) => (hitRate === null ? null : hitRate * 100),
      },
    ],
  },
  {
    id: 'chart-writes',
    lines: [
      { label: 'queue or feed', colour: 'store', area: 'solid', value: upTo(4) },
      { label: 'buffered', colour: 'feed', area: 'solid', value: upTo(3) },
      { label: 'invalidated', colour: 'queue', area: 'solid', value: upTo(2) },
      { label: 'updated', colour: 'cache', area: 'solid', value: upTo(1) },
    ],
  },
  {
    id: 'chart-lag',
    lines: [
      { label: 'oldest change, ms', colour: 'feed', area: true, value: ({ oldestMs }) => oldestMs },
      { label: 'p99, ms', colour: 'queue', value: ({ lagP99Ms }) => lagP99Ms },
    ],
  },
  {
    id: 'chart-backlog',
    lines: [
      { label: 'changes', colour: 'feed', area: true, value: ({ pending }) => pending },
      { label: 'jobs', colour: 'queue', right: true, value: ({ jobs }) => jobs },
    ],
  },
  {
    id: 'chart-near',
    lines: [
      {
        label: 'near hits/s',
        colour: 'cache',
        area: true,
        value: ({ nearHitsPerSecond }) => nearHitsPerSecond,
      },
      { label: 'near entries', colour: 'feed', right: true, value: ({ nearItems }) => nearItems },
    ],
  },
  {
    id: 'chart-buffer',
    lines: [
      { label: 'unflushed keys', colour: 'cache', area: true, value: ({ unflushed }) => unflushed },
      {
        label: 'buffered/s',
        colour: 'feed',
        right: true,
        value: ({ bufferedPerSecond }) => bufferedPerSecond,
      },
    ],
  },
  {
    id: 'chart-breakers',
    lines: [
      { label: 'alive', colour: 'queue', value: ({ processes }) => processes },
      { label: 'without the cache', colour: 'store', area: true, value: ({ breakers }) => breakers },
    ],
  },
];
