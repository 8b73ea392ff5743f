import type { Transaction } from '../contracts/options.js';
import { StoreOverloadedError, StoreTimeoutError } from '../errors.js';
import { Batcher } from '../kit/batcher.js';
import { Deadline, withTimeout } from '../kit/wait.js';
import { TRACES, traced } from '../runtime/tracing.js';
import { copyOf } from '../values/copy.js';
import type { ViewContext, ViewRead } from './context.js';
import type { TagTokens } from './tag-tokens.js';

/** The context of one view's reads. */
export interface ViewReadContext<Params, Value> extends ViewContext<Params, Value> {
  readonly loader: ViewLoader<Params, Value>;
  readonly tagTokens: TagTokens<Params, Value>;
}

/** A load's outcome: boxed, so that a value that is an `Error` is none. */
interface Loaded<Value> {
  readonly value: Value;
}

interface PendingLoad<Params, Value> {
  readonly asked: ViewRead<Params>;
  readonly loaded: Promise<Value>;
}

/**
 * Runs a view's load, so many at once, so that a dead cache does not become a dead database. Readers may share a load
 * that was not begun yet, never one that was: it may have read before a write that they must see.
 */
export class ViewLoader<Params, Value> {
  readonly #context: ViewContext<Params, Value>;
  readonly #batcher: Batcher<PendingLoad<Params, Value>, Loaded<Value>>;
  readonly #waiting = new Map<string, PendingLoad<Params, Value>>();

  constructor(context: ViewContext<Params, Value>) {
    const { clock, settings } = context;
    this.#context = context;
    this.#batcher = new Batcher({
      waitsForTurn: 'never',
      maxItems: 1,
      maxInFlight: settings.maxConcurrentLoads,
      clock,
      errorOf: (error) => error as Error,
      call: async (pending) => await Promise.all(pending.map(({ asked }) => this.#begin(asked))),
    });
  }

  /** Rejects as the load does, with `StoreTimeoutError`, `StoreOverloadedError`. */
  async load(asked: ViewRead<Params>): Promise<Value> {
    const { cacheKey, key } = asked;
    const same = this.#waiting.get(cacheKey);
    if (same !== undefined) return copyOf(await same.loaded);
    const { maxQueuedLoads, name } = this.#context.settings;
    if (this.#waiting.size >= maxQueuedLoads) {
      const message = `view "${name}": ${maxQueuedLoads} loads already wait (maxQueuedLoads)`;
      throw new StoreOverloadedError(message, { collection: name, key });
    }
    const { promise: loaded, resolve, reject } = Promise.withResolvers<Value>();
    const pending = { asked, loaded };
    this.#waiting.set(cacheKey, pending);
    this.#batcher.add(pending, (answer) =>
      answer instanceof Error ? reject(causeOf(answer)) : resolve(answer.value),
    );
    return await loaded;
  }

  async #begin(asked: ViewRead<Params>): Promise<Loaded<Value>> {
    const { clock, events, settings, tally } = this.#context;
    tally.loads++;
    tally.loadedRows++;
    this.#waiting.delete(asked.cacheKey);
    const startedAtMs = clock.monotonic();
    try {
      if (settings.flushFirst) await this.#flush(asked);
      const [host] = asked.rows.flatMap(({ collection }) => collection.store.transactions ?? []);
      return { value: await this.run(asked, host?.client, undefined) };
    } catch (error) {
      throw new Failure('the load failed', { cause: error });
    } finally {
      const durationMs = clock.monotonic() - startedAtMs;
      if (events.load.wanted) events.load.emit({ collection: settings.name, keys: 1, durationMs });
    }
  }

  /** Brings acknowledged writes that the store does not have yet into it. */
  async #flush({ key, rows }: ViewRead<Params>): Promise<void> {
    const { clock, settings } = this.#context;
    const { name, storeTimeoutMs } = settings;
    const buffers = new Set(rows.flatMap(({ collection }) => collection.writes.buffer ?? []));
    const late = (): Error =>
      new StoreTimeoutError(`view "${name}": what is buffered was not flushed within ${storeTimeoutMs} ms`, {
        collection: name,
        key,
      });
    const flushing = Promise.all([...buffers].map((buffer) => buffer.flush()));
    await withTimeout(clock, flushing, storeTimeoutMs, late);
  }

  /** Runs the load, alone and at once. */
  run(
    { cursor, key, params }: ViewRead<Params>,
    client: unknown,
    tx: Transaction | undefined,
  ): Promise<Value> {
    const { clock, load, settings } = this.#context;
    const { name, storeTimeoutMs } = settings;
    const late = (): Error =>
      new StoreTimeoutError(`view "${name}": the load took more than ${storeTimeoutMs} ms`, {
        collection: name,
        key,
      });
    const deadline = new Deadline({ clock, timeoutMs: storeTimeoutMs, late });
    const run = () =>
      deadline.run((signal) =>
        load(params, { client, signal, ...(tx && { tx }), ...(cursor === undefined ? {} : { cursor }) }),
      );
    return TRACES.load.hasSubscribers ? traced('load', { collection: name, keys: 1 }, run) : run();
  }
}

/** Carries what a load has thrown, be it no `Error`. */
class Failure extends Error {}

function causeOf(error: Error): unknown {
  return error instanceof Failure ? error.cause : error;
}
