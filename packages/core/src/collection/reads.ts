import type { Versioned } from '../contracts/api.js';
import type { ReadOptions, Transaction } from '../contracts/options.js';
import { NO_VERSION } from '../contracts/version.js';
import { CacheUnavailableError } from '../errors.js';
import { nextImmediate } from '../kit/batcher.js';
import { checkKnown } from '../kit/options.js';
import type { Load } from '../read/reader.js';
import type { CollectionParts } from './parts.js';

const READ_OPTIONS = ['signal', 'timeoutMs', 'tx', 'fresh', 'ttlMs'];
/** Keys of one `getMany` that are asked for at once: others' reads wait behind no more. */
const READ_TOGETHER = 1_000;

/** The calls of a collection that read. */
export class CollectionReads<Value, Id> {
  readonly #parts: CollectionParts<Value, Id>;

  constructor(parts: CollectionParts<Value, Id>) {
    this.#parts = parts;
  }

  async get(id: Id, options?: ReadOptions): Promise<Value | undefined> {
    const { value } = await this.getVersioned(id, options);
    return value === null ? undefined : value;
  }

  async getVersioned(id: Id, options?: ReadOptions): Promise<Versioned<Value>> {
    if (!this.#parts.opening.opened) await this.#parts.opening.open();
    this.#parts.opening.checkOpen();
    return await this.#read(this.#parts.checks.key(id), options);
  }

  async getMany(ids: readonly Id[], options?: ReadOptions): Promise<(Value | undefined)[]> {
    if (!this.#parts.opening.opened) await this.#parts.opening.open();
    this.#parts.opening.checkOpen();
    const together = Math.min(READ_TOGETHER, Math.ceil(this.#parts.settings.maxQueuedLoads / 2));
    if (ids.length <= together) return await this.#readAll(ids, options);
    return await this.#readInParts([...ids], together, options);
  }

  async #readAll(ids: readonly Id[], options: ReadOptions | undefined): Promise<(Value | undefined)[]> {
    const keys = ids.map((id) => this.#parts.checks.key(id));
    const reads = await Promise.all(keys.map((key) => this.#read(key, options)));
    return reads.map(({ value }) => (value === null ? undefined : value));
  }

  /** One part after the other, with a turn of the event loop between them: others' reads come in between. */
  async #readInParts(
    ids: readonly Id[],
    together: number,
    options: ReadOptions = {},
  ): Promise<(Value | undefined)[]> {
    const { signal, timeoutMs, ...each } = options;
    let over = false;
    const reading = async (): Promise<(Value | undefined)[]> => {
      const values: (Value | undefined)[] = [];
      for (let from = 0; from < ids.length && !over; from += together) {
        for (const value of await this.#readAll(ids.slice(from, from + together), each)) values.push(value);
        await new Promise<void>((resolve) => nextImmediate(resolve));
      }
      return values;
    };
    signal?.throwIfAborted();
    try {
      return await this.#parts.checks.bounded(reading, {
        ...(signal === undefined ? {} : { signal }),
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
      });
    } finally {
      over = true;
    }
  }

  #read(key: string, options: ReadOptions | undefined): Promise<Versioned<Value>> {
    return options === undefined
      ? this.#parts.reader.read(key, this.#parts.keyPrefix + key, this.#parts.settings.ttlMs)
      : this.readWith(key, options);
  }

  /** As `getVersioned`, of a key that was checked. `load`: in place of the store's. */
  readWith(key: string, options: ReadOptions, load?: Load<Value>): Promise<Versioned<Value>> {
    checkKnown(options, READ_OPTIONS, `collection("${this.#parts.settings.name}") read options`);
    const ttlMs = this.#parts.checks.ttl(options);
    options.signal?.throwIfAborted();
    const { tx } = options;
    if (tx !== undefined) return this.#parts.checks.bounded(() => this.#readInside(key, tx), options);
    const cacheKey = this.#parts.keyPrefix + key;
    const reading = (): Promise<Versioned<Value>> =>
      options.fresh
        ? this.#refresh(key, cacheKey, ttlMs, load)
        : this.#parts.reader.read(key, cacheKey, ttlMs, load);
    return this.#parts.checks.bounded(reading, options);
  }

  async #refresh(
    key: string,
    cacheKey: string,
    ttlMs: number,
    load?: Load<Value>,
  ): Promise<Versioned<Value>> {
    // The store does not have what is buffered; where the cache is away there is nothing to ask.
    await this.#parts.writes.flushKey(key).catch((error: unknown) => {
      if (!(error instanceof CacheUnavailableError)) throw error;
    });
    return await this.#parts.reader.refresh(key, cacheKey, ttlMs, load);
  }

  /** Inside a transaction reads go to it and fill nothing. */
  async #readInside(key: string, tx: Transaction): Promise<Versioned<Value>> {
    const row = await this.#parts.writes.inside.read(key, tx);
    return { value: row?.value ?? null, version: row?.version ?? NO_VERSION, from: 'transaction' };
  }

  /** Reads with another load than the store's, for `through`. */
  async readBy(id: Id, options: ReadOptions, load: Load<Value>): Promise<Value | undefined> {
    if (!this.#parts.opening.opened) await this.#parts.opening.open();
    this.#parts.opening.checkOpen();
    const { value } = await this.readWith(this.#parts.checks.key(id), options, load);
    return value ?? undefined;
  }
}
