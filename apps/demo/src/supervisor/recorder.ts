import { type Point, Series } from './series.js';
import type { Shop } from './shop.js';
import { LatencyHistogram } from './totals.js';

const POINT_MS = 500;

export type Phase = 'warm' | 'running' | 'ending';

/** Turns totals into points of time, for the charts. */
export class Recorder {
  readonly #shop: Shop;
  readonly #series = new Series();
  readonly #timer: NodeJS.Timeout;
  readonly #listeners = new Set<(point: Point) => void>();
  phase: Phase = 'warm';

  constructor(shop: Shop) {
    this.#shop = shop;
    shop.totals.recent = {
      store: new LatencyHistogram(),
      cache: new LatencyHistogram(),
      read: new LatencyHistogram(),
    };
    this.#timer = setInterval(() => this.#turn(), POINT_MS);
  }

  get points(): readonly Point[] {
    return this.#series.points;
  }

  /** Returns a function that ends it. */
  listen(listener: (point: Point) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #turn(): void {
    const { totals, feed, queue, watch } = this.#shop;
    const status = queue?.value;
    const point = this.#series.add(totals.counts, {
      writeStoreMs: median(totals.recent?.store),
      writeCacheMs: median(totals.recent?.cache),
      readMs: median(totals.recent?.read),
      feedLagMs: feed?.value?.oldestMs ?? null,
      feedPending: feed?.value?.pending ?? null,
      queueDepth: status == null ? null : status.waiting + status.active + status.delayed,
      stale: totals.verdicts.stale,
      down: watch?.down ?? false,
    });
    if (point !== undefined) for (const listener of this.#listeners) listener(point);
  }
}

/** The median since the last time. */
function median(histogram: LatencyHistogram | undefined): number | null {
  if (histogram === undefined) return null;
  const { p50, count } = histogram.summary;
  histogram.reset();
  return count === 0 ? null : p50;
}
