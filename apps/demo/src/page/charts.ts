import type { ChartSpec } from '@lockstep/worker/page';
import type { Point } from '../supervisor/series.js';

/** The time that a chart shows. */
export const WINDOW_SECONDS = 120;

export const CHARTS: readonly ChartSpec<Point>[] = [
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

function sum(a: number | null, b: number | null): number | null {
  return a === null ? null : a + (b ?? 0);
}
