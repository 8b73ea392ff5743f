import {
  type CircuitBreakerPolicy,
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  handleAll,
  isBrokenCircuitError,
} from 'cockatiel';

/** A circuit breaker: stops calling what keeps failing, and lets one call try again after a while. */
export class Breaker {
  readonly #policy: CircuitBreakerPolicy;
  #lastError: unknown;

  constructor(
    options: { readonly threshold: number; readonly cooldownMs: number },
    onChange: (state: 'open' | 'half-open' | 'closed', error?: unknown) => void = () => undefined,
  ) {
    this.#policy = circuitBreaker(handleAll, {
      halfOpenAfter: options.cooldownMs,
      breaker: new ConsecutiveBreaker(options.threshold),
    });
    this.#policy.onFailure(({ reason }) => {
      if ('error' in reason) this.#lastError = reason.error;
    });
    this.#policy.onStateChange((state) => {
      if (state === CircuitState.Open) onChange('open', this.#lastError);
      else if (state === CircuitState.HalfOpen) onChange('half-open');
      else if (state === CircuitState.Closed) onChange('closed');
    });
  }

  /** What it opened for, when the error is its own; else the error. */
  causeOf(error: unknown): unknown {
    return isBrokenCircuitError(error as Error) ? this.#lastError : error;
  }

  /** Runs it, or rejects at once while open. */
  execute<T>(call: () => Promise<T>): Promise<T> {
    return this.#policy.execute(call);
  }
}
