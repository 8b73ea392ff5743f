import type { WriteResult } from '../contracts/api.js';
import type { UpdateOptions } from '../contracts/options.js';
import { UPDATE } from './call-options.js';
import { Folds } from './folds.js';
import { KeyLines, Line } from './lines.js';
import { RowToUpdate, type UpdateParts } from './row-to-update.js';
import { type RowStep, UpdateCall } from './update.js';

/** The calls that read a row, change it and write it: those of one key stand in line. */
export class Updates<Value> {
  readonly #parts: UpdateParts<Value>;
  readonly #lines: KeyLines<UpdateCall<Value>>;
  readonly #folds: Folds<Value>;

  constructor(parts: UpdateParts<Value>) {
    const { activity, clock, settings } = parts.context;
    this.#parts = parts;
    this.#folds = new Folds(parts.context, () => this.#lines.joined);
    this.#lines = new KeyLines({
      ...{ collection: settings.name, clock, bounds: settings.batch },
      // What was begun goes on when its callers have given up.
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

  /** Inside a transaction a call is in a line of its own: others don't wait for it, nor it for them. */
  #alone(key: string, call: UpdateCall<Value>): void {
    const line = new Line<UpdateCall<Value>>(key);
    line.add(call);
    this.#parts.context.activity.track(this.#folds.serve(line));
  }
}
