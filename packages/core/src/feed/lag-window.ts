import type { RelayStatus } from '../contracts/relay.js';

const SIZE = 10_000;

/** The last 10,000 lags, for percentiles. */
export class LagWindow {
  readonly #lags = new Float64Array(SIZE);
  #count = 0;
  #max = 0;

  add(lagMs: number): void {
    this.#lags[this.#count % SIZE] = lagMs;
    this.#count++;
    if (lagMs > this.#max) this.#max = lagMs;
  }

  /** In ms; `max` since the start, the percentiles over the window. */
  summary(): RelayStatus['lagMs'] {
    const sorted = this.#lags.slice(0, Math.min(this.#count, SIZE)).sort();
    const at = (share: number): number => sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0;
    return { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: this.#max };
  }
}
