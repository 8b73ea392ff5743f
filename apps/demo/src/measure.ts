import { LockstepError, StoreTimeoutError, StoreUnavailableError } from '@lockstep/core';

/** The counters of each application process. */
export const COUNTERS = [
  'reads',
  'hits',
  'writes',
  'failedReads',
  'failedWrites',
  'unknownWrites',
  'httpReads',
  'httpWrites',
  'skippedReads',
  'skippedWrites',
  'storeQueries',
  'storeRows',
  'warmupQueries',
  'updated',
  'invalidated',
  'queued',
  'deferred',
  'coalesced',
  'viewReads',
  'viewLoads',
  'reviewWrites',
] as const;
export type Counter = (typeof COUNTERS)[number];
export type Counts = Record<Counter, number>;

/** The timings, in ms. */
export const TIMINGS = ['readMs', 'writeMs', 'writeStoreMs', 'writeCacheMs', 'httpMs'] as const;
export type Timing = (typeof TIMINGS)[number];

/** One kind of failure and how often it was seen. */
export interface Failure {
  readonly where: string;
  readonly code: string;
  readonly message: string;
  readonly count: number;
}

/** The counts and timings since the last measures. */
export interface Measures {
  readonly counts: Counts;
  readonly timings: Record<Timing, Float32Array>;
  /** Calls that were rejected. */
  readonly failures: readonly Failure[];
  /** Failures for which no caller waits, and which are tried again. */
  readonly backgroundErrors: readonly Failure[];
}

/** Kinds of failures kept; further ones are only counted. */
const MAX_FAILURES = 50;

/** Failures by kind: messages name ids and times, and one of each kind is enough. */
export class FailureLog {
  #kinds = new Map<string, Failure>();

  add(failure: Failure): void {
    const kind = `${failure.where} ${failure.code} ${failure.message.replace(/\d+/g, '#')}`;
    const seen = this.#kinds.get(kind);
    if (seen === undefined && this.#kinds.size >= MAX_FAILURES) return;
    this.#kinds.set(kind, { ...failure, count: failure.count + (seen?.count ?? 0) });
  }

  error(where: string, error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    this.add({ where, code: codeOf(error), message: message.slice(0, 300), count: 1 });
  }

  /** The most frequent ones first. */
  get list(): Failure[] {
    return [...this.#kinds.values()].sort((a, b) => b.count - a.count);
  }
}

export function noCounts(): Counts {
  return Object.fromEntries(COUNTERS.map((name) => [name, 0])) as Counts;
}

/** Counts and times until somebody takes them. */
export class Meter {
  #counts = noCounts();
  #timings = noTimings();
  #failures = new FailureLog();
  #background = new FailureLog();

  count(name: Counter, by = 1): void {
    this.#counts[name] += by;
  }

  time(name: Timing, ms: number): void {
    this.#timings[name].push(ms);
  }

  failure(where: string, error: unknown): void {
    this.#failures.error(where, error);
  }

  backgroundError(where: string, error: unknown): void {
    this.#background.error(where, error);
  }

  take(): Measures {
    const timings = Object.fromEntries(
      TIMINGS.map((name) => [name, Float32Array.from(this.#timings[name])]),
    ) as Record<Timing, Float32Array>;
    const taken = {
      counts: this.#counts,
      timings,
      failures: this.#failures.list,
      backgroundErrors: this.#background.list,
    };
    this.#counts = noCounts();
    this.#timings = noTimings();
    this.#failures = new FailureLog();
    this.#background = new FailureLog();
    return taken;
  }
}

function noTimings(): Record<Timing, number[]> {
  return { readMs: [], writeMs: [], writeStoreMs: [], writeCacheMs: [], httpMs: [] };
}

/** The fate in the store of a write that was rejected with this error; `undefined`: it is none of Lockstep's. */
export function fateOf(error: unknown): 'not-committed' | 'unknown' | undefined {
  if (error instanceof StoreUnavailableError) return error.outcome;
  if (error instanceof StoreTimeoutError) return 'unknown';
  return error instanceof LockstepError ? 'not-committed' : undefined;
}

function codeOf(error: unknown): string {
  if (error instanceof LockstepError) return error.code;
  if (error instanceof Error) return 'code' in error ? String(error.code) : error.name;
  return 'unknown';
}
