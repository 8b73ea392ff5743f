import type { WriteResult } from '../contracts/api.js';
import type { UpdateOptions } from '../contracts/options.js';
import type { TransactionTurn } from '../write/inside.js';
import { UPDATE } from './call-options.js';
import { Folds } from './folds.js';
import { type LineCall, type RowStep, Turn, UpdateCall } from './line-calls.js';
import { KeyLines, Line } from './lines.js';
import { RowToUpdate, type UpdateParts } from './row-to-update.js';

/** The calls that read a row, change it and write it: those of one key stand in line. */
export class Updates<Value> {
  readonly #parts: UpdateParts<Value>;
  readonly #lines: KeyLines<LineCall<Value>>;
  readonly #folds: Folds<Value>;

  constructor(parts: UpdateParts<Value>) {
    const { activity, clock, settings } = parts.context;
    this.#parts = parts;
    this.#folds = new Folds(parts.context, () => this.#lines.joined);
    this.#lines = new KeyLines({
      ...{ collection: settings.name, clock, bounds: settings.batch },
      // Work that was begun goes on when its callers have given up.
      serve: (line) => activity.track(this.#folds.serve(line)),
    });
  }

  /** `name`: the call's, for messages. */
  async update(
    key: string,
    change: RowStep<Value>,
    options: UpdateOptions,
    name: string,
  ): Promise<WriteResult<Value>> {
    const { checks, clock, store } = this.#parts.context;
    if (!store.capabilities.compareAndSet) throw checks.unsupported(`${name} (compare-and-set)`);
    const { fromCache = UPDATE.fromCache.fallback, retries = UPDATE.retries.fallback, tx } = options;
    const row = new RowToUpdate(this.#parts, key, tx);
    const how = { fromCache, retries, ttlMs: checks.ttl(options), sinceMs: clock.monotonic() };
    const call = new UpdateCall(row, change, how);
    if (tx === undefined) this.#lines.join(key, call);
    else this.#alone(key, call);
    try {
      return await checks.bounded(() => call.answer, options);
    } finally {
      if (tx === undefined) this.#lines.leave(key, call);
      else call.end();
    }
  }

  /**
   * Runs a call by itself when its turn among those of its key has come. It begins while the one before it has its turn,
   * and waits for `begun` before it touches the row; the next one comes once it is committed.
   *
   * @param call told what is left of its time
   */
  async inTurn<T>(
    key: string,
    { signal, timeoutMs }: { readonly signal: AbortSignal | undefined; readonly timeoutMs: number },
    call: (turn: TransactionTurn, timeoutMs: number) => Promise<T>,
  ): Promise<T> {
    const { checks, clock } = this.#parts.context;
    const sinceMs = clock.monotonic();
    const turn = new Turn<Value>(sinceMs);
    this.#lines.join(key, turn);
    try {
      if (this.#lines.firstOf(key) === turn) turn.comesNext();
      await checks.bounded(() => turn.near, signal === undefined ? { timeoutMs } : { signal, timeoutMs });
      const own = { begun: turn.begun, committed: () => turn.end() };
      return await call(own, Math.max(1, Math.ceil(timeoutMs - (clock.monotonic() - sinceMs))));
    } finally {
      this.#lines.leave(key, turn);
    }
  }

  /** Serves a call inside a transaction, which waits for no other call, nor any other for it. */
  #alone(key: string, call: UpdateCall<Value>): void {
    const line = new Line<LineCall<Value>>(key);
    line.add(call);
    this.#parts.context.activity.track(this.#folds.serve(line));
  }
}
