import type { Logger } from 'pino';

/** How long repetitions of a failure are only counted. */
const WINDOW_MS = 30_000;
/** Failures that are remembered; the oldest goes first. */
const MAX_KINDS = 100;

interface Kind {
  sinceMs: number;
  times: number;
}

/**
 * Logs a failure when it is new, without a stack where a server is away; repetitions are counted, and told in one line
 * each half a minute. Otherwise a database that restarts fills the log several times a second.
 */
export class GatheredLog {
  readonly #logger: Logger;
  readonly #now: () => number;
  readonly #kinds = new Map<string, Kind>();

  constructor(logger: Logger, now: () => number) {
    this.#logger = logger;
    this.#now = now;
  }

  warn(fields: { readonly where: string; readonly err: unknown }, message: string): void {
    const { err, where } = fields;
    const key = `${message} ${where} ${err instanceof Error ? `${err.name} ${err.message}` : String(err)}`;
    const nowMs = this.#now();
    const known = this.#kinds.get(key);
    if (known === undefined) {
      this.#remember(key, nowMs);
      this.#logger.warn({ where, err }, message);
      return;
    }
    known.times += 1;
    if (nowMs - known.sinceMs < WINDOW_MS) return;
    const forMs = Math.round(nowMs - known.sinceMs);
    const text = err instanceof Error ? err.message : String(err);
    this.#logger.warn({ where, error: text, times: known.times, forMs }, `${message} again`);
    this.#kinds.delete(key);
    this.#remember(key, nowMs);
  }

  #remember(key: string, nowMs: number): void {
    const [oldest] = this.#kinds.keys();
    if (this.#kinds.size >= MAX_KINDS && oldest !== undefined) this.#kinds.delete(oldest);
    this.#kinds.set(key, { sinceMs: nowMs, times: 0 });
  }
}
