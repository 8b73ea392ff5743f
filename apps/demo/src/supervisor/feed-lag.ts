import type { Outage } from '@lockstep/torture';
import type { RelayedBatch } from '../messages.js';
import { type Latency, LatencyHistogram } from './totals.js';

/** Changes whose lag is not known to be free of an outage yet wait this long, in ms: outages show up late. */
const SETTLE_MS = 1_000;

/**
 * How old changes are when the relay has dealt with them. What was made before the load began (the seeding),
 * and what an outage of cache or store, or the recovery from it, held up, is kept apart: the promise of the
 * relay's lag is for the time in which both can be reached.
 */
export class FeedLag {
  readonly #recoveryMs: number;
  readonly #reachable = new LatencyHistogram();
  readonly #outage = new LatencyHistogram();
  #waiting: RelayedBatch[] = [];
  #sinceMs = Number.POSITIVE_INFINITY;

  constructor(recoveryMs: number) {
    this.#recoveryMs = recoveryMs;
  }

  begin(nowMs: number): void {
    this.#sinceMs = nowMs;
  }

  add(batches: readonly RelayedBatch[]): void {
    this.#waiting.push(...batches);
  }

  settle(nowMs: number, outages: readonly Outage[]): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const batch of waiting) {
      const madeMs = batch.atMs - batch.lagMs;
      if (madeMs < this.#sinceMs) continue;
      if (batch.atMs > nowMs - SETTLE_MS) this.#waiting.push(batch);
      else
        (this.#heldUp(madeMs, batch.atMs, outages) ? this.#outage : this.#reachable).add(
          batch.lagMs,
          batch.changes,
        );
    }
  }

  #heldUp(madeMs: number, atMs: number, outages: readonly Outage[]): boolean {
    return outages.some(
      ({ fromMs, toMs }) => fromMs <= atMs && (toMs ?? Number.POSITIVE_INFINITY) + this.#recoveryMs >= madeMs,
    );
  }

  /** While cache and store could be reached. */
  get summary(): Latency {
    return this.#reachable.summary;
  }

  /** The lag of the changes that an outage held up. */
  get outageSummary(): Latency {
    return this.#outage.summary;
  }
}
