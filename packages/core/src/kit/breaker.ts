import type { Clock } from '../contracts/clock.js';

export interface BreakerOptions {
  /** The failures in a row after which it opens. */
  readonly threshold: number;
  /** How long it stays open before one call tries again. */
  readonly cooldownMs: number;
  readonly clock: Clock;
  readonly onChange?: (state: Breaker['state'], error?: unknown) => void;
}

/** A circuit breaker: stops calling what keeps failing, and lets one call try again after a while. */
export class Breaker {
  /** Changes here alone. A field: each call looks at it. */
  state: 'open' | 'half-open' | 'closed' = 'closed';
  /** The error of calls that are not admitted. */
  lastError: unknown;
  readonly #options: BreakerOptions;
  #failures = 0;
  #untilMs = 0;

  constructor(options: BreakerOptions) {
    this.#options = options;
  }

  /** True: a call may be made, whose outcome it is to be told. */
  admits(): boolean {
    if (this.state === 'closed') return true;
    if (this.state === 'half-open' || this.#options.clock.monotonic() < this.#untilMs) return false;
    this.#change('half-open');
    return true;
  }

  succeeded(): void {
    this.#failures = 0;
    if (this.state === 'half-open') this.#change('closed');
  }

  failed(error: unknown): void {
    const { clock, cooldownMs, threshold } = this.#options;
    this.lastError = error;
    this.#failures++;
    if (this.state === 'open' || (this.state === 'closed' && this.#failures < threshold)) return;
    this.#untilMs = clock.monotonic() + cooldownMs;
    this.#change('open');
  }

  #change(state: Breaker['state']): void {
    this.state = state;
    this.#options.onChange?.(state, state === 'open' ? this.lastError : undefined);
  }
}
