/** An answer younger than this is told again, in ms. */
const FRESH_MS = 1_000;
/** An answer older than this is not told any more, in ms: the caller waits for a new one. */
const STALE_MS = 5_000;

/**
 * Looks at most once in a second, however many ask: they are told what was seen last, and those who come after a
 * pause wait for the next look together.
 */
export class Sampler<Sample> {
  readonly #look: () => Promise<Sample>;
  #last: { readonly sample: Sample; readonly atMs: number } | undefined;
  #looking: Promise<Sample> | undefined;

  constructor(look: () => Promise<Sample>) {
    this.#look = look;
  }

  /** Rejects with what the look that it waited for rejected with. */
  async sample(): Promise<Sample> {
    const ageMs = this.#last === undefined ? Number.POSITIVE_INFINITY : performance.now() - this.#last.atMs;
    if (this.#last !== undefined && ageMs < FRESH_MS) return this.#last.sample;
    const looking = this.#again();
    if (this.#last === undefined || ageMs >= STALE_MS) return await looking;
    // Nobody waits for it; who comes later hears of a failure.
    looking.catch(() => undefined);
    return this.#last.sample;
  }

  #again(): Promise<Sample> {
    this.#looking ??= this.#look()
      .then((sample) => {
        this.#last = { sample, atMs: performance.now() };
        return sample;
      })
      .finally(() => {
        this.#looking = undefined;
      });
    return this.#looking;
  }
}
