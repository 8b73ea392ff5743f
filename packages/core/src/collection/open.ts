import type { BufferedWrites } from '../buffer/buffers.js';
import { ClosedError, InvalidOptionError, StoreUnavailableError } from '../errors.js';
import type { Consumer } from '../feed/consumer.js';
import { concerning } from '../kit/concerning.js';
import { withTimeout } from '../kit/wait.js';
import type { Pointers } from '../read/pointers.js';
import type { CollectionContext } from './context.js';
import { StoreNote } from './store-note.js';

/** Opens a collection's store and joins its registry, once, with the first call that needs them. */
export class Opening {
  /** True once open: calls skip `open` then, and await nothing. */
  opened = false;
  readonly #context: CollectionContext<unknown>;
  readonly #consumer: Consumer | undefined;
  readonly #buffer: Pick<BufferedWrites, 'open'> | undefined;
  readonly #note: StoreNote;
  #opening: Promise<void> | undefined;
  #storeOpening: Promise<void> | undefined;

  constructor(
    context: CollectionContext<unknown>,
    consumer: Consumer | undefined,
    buffer: Pick<BufferedWrites, 'open'> | undefined,
    lookups: readonly Pick<Pointers, 'recorded'>[],
  ) {
    this.#context = context;
    this.#note = new StoreNote(
      context,
      lookups.map(({ recorded }) => recorded),
    );
    this.#consumer = consumer;
    this.#buffer = buffer;
  }

  /** Rejects with `ClosedError`, or as the store does; the next call tries again then. */
  async open(): Promise<void> {
    if (!this.opened) await this.#opensOnce();
    this.checkOpen();
  }

  #opensOnce(): Promise<void> {
    this.#opening ??= this.#open().then(
      () => {
        this.opened = true;
      },
      (error: unknown) => {
        this.#opening = undefined;
        throw concerning(error, { collection: this.#context.settings.name });
      },
    );
    return this.#opening;
  }

  /** Throws `ClosedError` once `close` was called. */
  checkOpen(): void {
    if (!this.#context.lifecycle.closed) return;
    const { name: collection } = this.#context.settings;
    throw new ClosedError(`collection "${collection}": this Lockstep is closed`, { collection });
  }

  async #open(): Promise<void> {
    this.checkOpen();
    const { adapter, settings, store, tags, warnIfEvicting } = this.#context;
    await this.#openStore();
    await this.#checkUnique();
    await this.#note.check();
    await tags?.check();
    await this.#consumer?.open(store.source);
    await this.#buffer?.open();
    if (settings.consistency === 'strict') await warnIfEvicting(settings.name, 'is strict');
    else if (!store.capabilities.versioned && adapter.shared) {
      // Not awaited: writes of a store without versions go on without the cache.
      void warnIfEvicting(settings.name, 'has a store without versions');
    }
  }

  #onKept(kept: boolean, reason: string): void {
    const { source } = this.#context.store;
    if (kept) this.#consumer?.suspensions.resume(source);
    else this.#consumer?.suspensions.suspend(source, reason);
  }

  /** Rows can be looked up by what each of their changes tells alone. */
  async #checkUnique(): Promise<void> {
    const { clock, settings, store } = this.#context;
    const { name, storeTimeoutMs, unique } = settings;
    if (unique.length === 0) return;
    if (store.declared === undefined || !store.capabilities.changeFeed) {
      const problem = `needs a change feed, which ${store.name} does not have`;
      throw new InvalidOptionError(`collection("${name}").unique`, problem, { collection: name });
    }
    await withTimeout(clock, store.declared.check({ unique }), storeTimeoutMs, () => {
      const message = `collection "${name}": the store did not say within ${storeTimeoutMs} ms what is unique`;
      return new StoreUnavailableError(message, 'not-committed', { collection: name });
    });
  }

  /** Waits no longer than for any answer of the store. The opening itself goes on; the next call joins it. */
  #openStore(): Promise<void> {
    const { clock, events, settings, store } = this.#context;
    const { name, storeTimeoutMs } = settings;
    this.#storeOpening ??= Promise.resolve(
      store.open?.({
        onWarning: (error) => events.error.emit({ where: 'open', error }),
        onKept: (kept, reason) => this.#onKept(kept, reason),
      }),
    ).finally(() => {
      this.#storeOpening = undefined;
    });
    return withTimeout(clock, this.#storeOpening, storeTimeoutMs, () => {
      const message = `collection "${name}": the store was not open after ${storeTimeoutMs} ms`;
      return new StoreUnavailableError(message, 'not-committed', { collection: name });
    });
  }
}
