import type { Collection, WriteResult } from '../contracts/api.js';
import type { Version } from '../contracts/version.js';
import type { InLine } from './lines.js';
import type { RowToUpdate } from './row-to-update.js';

/** The function that `update` applies to a row. */
export type RowChange<Value> = Parameters<Collection<Value>['update']>[1];

/** The same, told the version of what it gets; `0`: it has none, since another function of the line made it. */
export type RowStep<Value> = (current: Value | undefined, version: Version) => ReturnType<RowChange<Value>>;

export type LineCall<Value> = UpdateCall<Value> | Turn<Value>;

/** How a call of `update` goes. */
interface HowToUpdate {
  readonly fromCache: boolean;
  readonly retries: number;
  readonly ttlMs: number;
  readonly sinceMs: number;
}

/** One call of `update`, or of `patch` where that reads the row first. */
export class UpdateCall<Value> implements InLine<LineCall<Value>> {
  readonly row: RowToUpdate<Value>;
  readonly change: RowStep<Value>;
  readonly fromCache: boolean;
  readonly retries: number;
  readonly ttlMs: number;
  readonly sinceMs: number;
  readonly answer: Promise<WriteResult<Value>>;
  readonly resolve: (result: WriteResult<Value>) => void;
  readonly reject: (error: unknown) => void;
  place = 0;
  over = false;
  /** How often another writer came between. */
  lost = 0;
  /** True after a refusal together with others: the function is sent by itself. */
  alone = false;
  /** True after a refusal under the row's lock: the function goes by compare-and-set. */
  withoutLock = false;
  /** Called when the caller stops waiting while the function runs. */
  gaveUp: (() => void) | undefined;
  previous: LineCall<Value> | undefined;
  next: LineCall<Value> | undefined;

  constructor(
    row: RowToUpdate<Value>,
    change: RowStep<Value>,
    { fromCache, retries, sinceMs, ttlMs }: HowToUpdate,
  ) {
    this.row = row;
    this.change = change;
    this.fromCache = fromCache;
    this.retries = retries;
    this.ttlMs = ttlMs;
    this.sinceMs = sinceMs;
    const { promise, resolve, reject } = Promise.withResolvers<WriteResult<Value>>();
    this.answer = promise;
    this.resolve = resolve;
    this.reject = reject;
  }

  end(): void {
    this.over = true;
    this.gaveUp?.();
  }
}

/** A call that has its turn by itself: one of `write`, with the caller's own statements. */
export class Turn<Value> implements InLine<LineCall<Value>> {
  readonly sinceMs: number;
  place = 0;
  over = false;
  previous: LineCall<Value> | undefined;
  next: LineCall<Value> | undefined;
  readonly #near = Promise.withResolvers<void>();
  readonly #begun = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<void>();

  constructor(sinceMs: number) {
    this.sinceMs = sinceMs;
    // A rejection must not count as unhandled when no caller waits any more.
    this.#near.promise.catch(() => undefined);
    this.#begun.promise.catch(() => undefined);
  }

  /** Resolves once the call is the next one: it may prepare itself. */
  get near(): Promise<void> {
    return this.#near.promise;
  }

  /** Resolves once the call has its turn. */
  get begun(): Promise<void> {
    return this.#begun.promise;
  }

  comesNext(): void {
    this.#near.resolve();
  }

  /** Resolves when the turn is over. */
  async run(): Promise<void> {
    this.#near.resolve();
    this.#begun.resolve();
    await this.#ended.promise;
  }

  reject(error: unknown): void {
    this.#near.reject(error);
    this.#begun.reject(error);
  }

  end(): void {
    this.over = true;
    this.#ended.resolve();
  }
}
