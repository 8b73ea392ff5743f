import type { Clock } from '../contracts/clock.js';
import type { BufferState } from '../contracts/events.js';
import { KeyRates } from './key-rates.js';
import type { BurstSettings } from './settings.js';

export interface PressureOptions {
  readonly settings: BurstSettings;
  readonly clock: Clock;
  /** Writes that wait for the store. */
  readonly waiting: () => number;
  /** How long the oldest statement has been under way, in ms; 0: none is. */
  readonly underWayMs: () => number;
  /** Flushes what is buffered. */
  readonly drain: () => Promise<void>;
  readonly onState: (state: BufferState) => void;
}

/** The weight of the newest statement in the average of their durations. */
const NEWEST = 0.3;

/**
 * Says which writes are to be buffered: all of them while the store is slow or too many wait for it, and
 * those of a key that is written too often. Once the pressure has been gone for a while one write tries
 * the store; when that was fast enough the buffer is drained, and writes go to the store again.
 */
export class Pressure {
  readonly #options: PressureOptions;
  readonly #rates = new KeyRates();
  #state: BufferState = 'synchronous';
  #averageMs = 0;
  #untilMs = 0;
  #probedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: PressureOptions) {
    this.#options = options;
  }

  wants(key: string): boolean {
    const { clock, settings, underWayMs, waiting } = this.#options;
    if (settings.always) return true;
    const now = clock.monotonic();
    const hot = this.#rates.count(key, now) > settings.keyRatePerSecond;
    if (waiting() >= settings.waitingWrites || underWayMs() > settings.storeLatencyMs) this.#press(now);
    if (this.#state === 'draining') return true;
    if (this.#state === 'synchronous') return hot;
    if (now < this.#untilMs || now < this.#probedAtMs + settings.quietMs) return true;
    this.#probedAtMs = now;
    return false;
  }

  /** A statement took so long. */
  committed(storeMs: number): void {
    const { clock, settings } = this.#options;
    const now = clock.monotonic();
    const calm = storeMs <= settings.storeLatencyMs;
    this.#averageMs += (storeMs - this.#averageMs) * NEWEST;
    if (this.#state === 'buffering' && calm && now >= this.#untilMs) this.#relax();
    else if (this.#averageMs > settings.storeLatencyMs) this.#press(now);
  }

  #press(nowMs: number): void {
    const { clock, settings } = this.#options;
    this.#untilMs = nowMs + settings.quietMs;
    if (this.#state === 'buffering') return;
    this.#enter('buffering');
    clock.schedule(this.#idle, settings.quietMs * 2);
  }

  /** Begins to drain the buffer when no write comes that would try the store: the flushes try it. */
  readonly #idle = (): void => {
    if (this.#state !== 'buffering') return;
    const { clock, settings } = this.#options;
    if (clock.monotonic() >= this.#untilMs + settings.quietMs) this.#relax();
    else clock.schedule(this.#idle, settings.quietMs);
  };

  #relax(): void {
    this.#averageMs = 0;
    this.#enter('draining');
    const done = (): void => {
      if (this.#state === 'draining') this.#enter('synchronous');
    };
    this.#options.drain().then(done, done);
  }

  #enter(state: BufferState): void {
    this.#state = state;
    this.#options.onState(state);
  }
}
