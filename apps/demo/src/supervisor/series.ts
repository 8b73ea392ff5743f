import type { Counts } from '../measure.js';

/** One point of the page's charts: an interval that has just ended. */
export interface Point {
  /** Milliseconds since the epoch. */
  readonly atMs: number;
  readonly readsPerSecond: number;
  readonly writesPerSecond: number;
  /** 0 to 1; `null`: there were no reads. */
  readonly hitRate: number | null;
  /** Statements for reads that the store got. */
  readonly storeQueriesPerSecond: number;
  /** Medians of the interval, in ms; `null`: there were no writes. */
  readonly writeStoreMs: number | null;
  readonly writeCacheMs: number | null;
  readonly readMs: number | null;
  /** The age of the oldest change that nobody has dealt with, in ms; `null`: the store was not asked in time. */
  readonly feedLagMs: number | null;
  readonly feedPending: number | null;
  readonly queueDepth: number | null;
  readonly stale: number;
  readonly down: boolean;
}

/** Points that a page which opens late is given: five minutes at two a second. */
const MAX_POINTS = 600;

export class Series {
  #points: Point[] = [];
  #last: { readonly counts: Counts; readonly atMs: number } | undefined;

  get points(): readonly Point[] {
    return this.#points;
  }

  add(counts: Counts, rest: Omit<Point, `${string}PerSecond` | 'atMs' | 'hitRate'>): Point | undefined {
    const atMs = Date.now();
    const last = this.#last;
    this.#last = { counts: { ...counts }, atMs };
    if (last === undefined) return undefined;
    const seconds = Math.max(0.001, (atMs - last.atMs) / 1_000);
    const perSecond = (name: keyof Counts) => (counts[name] - last.counts[name]) / seconds;
    const reads = counts.reads - last.counts.reads;
    const point: Point = {
      atMs,
      readsPerSecond: perSecond('reads'),
      writesPerSecond: perSecond('writes'),
      hitRate: reads === 0 ? null : Math.min(1, (counts.hits - last.counts.hits) / reads),
      storeQueriesPerSecond: perSecond('storeQueries'),
      ...rest,
    };
    this.#points.push(point);
    if (this.#points.length > MAX_POINTS) this.#points = this.#points.slice(-MAX_POINTS);
    return point;
  }
}
