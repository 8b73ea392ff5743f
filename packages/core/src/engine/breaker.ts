import {
  type CircuitBreakerPolicy,
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  handleAll,
} from 'cockatiel';

/** A circuit breaker: stops calling what keeps failing, and lets one call try again after a while. */
export class Breaker {
  readonly #policy: CircuitBreakerPolicy;

  constructor(
    options: { readonly threshold: number; readonly cooldownMs: number },
    onChange: (state: 'open' | 'half-open' | 'closed') => void = () => undefined,
  ) {
    this.#policy = circuitBreaker(handleAll, {
      halfOpenAfter: options.cooldownMs,
      breaker: new ConsecutiveBreaker(options.threshold),
    });
    this.#policy.onStateChange((state) => {
      if (state === CircuitState.Open) onChange('open');
      else if (state === CircuitState.HalfOpen) onChange('half-open');
      else if (state === CircuitState.Closed) onChange('closed');
    });
  }

  /** Runs it, or rejects at once while open. */
  execute<T>(call: () => Promise<T>): Promise<T> {
    return this.#policy.execute(call);
  }
}
