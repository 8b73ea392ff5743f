import type { Versioned } from '../contracts/api.js';
import type { ReadOptions, Transaction } from '../contracts/options.js';
import { NO_VERSION } from '../contracts/version.js';
import { CacheUnavailableError } from '../errors.js';
import { checkOptions } from '../kit/options.js';
import { READ } from './call-options.js';
import type { CollectionParts } from './parts.js';

/** Keys of one `getMany` that are asked for at once, in two calls of the cache: others' reads wait behind no more. */
const READ_TOGETHER = 1_024;

/** The calls of a collection that read. */
export class CollectionReads<Value, Id> {
  readonly #parts: CollectionParts<Value, Id>;

  constructor(parts: CollectionParts<Value, Id>) {
    this.#parts = parts;
  }

  async get(id: Id, options?: ReadOptions): Promise<Value | undefined> {
    const { value } = await this.#read(id, options);
    return value ?? undefined;
  }

  async getVersioned(id: Id, options?: ReadOptions): Promise<Versioned<Value>> {
    return await this.#read(id, options);
  }

  /** Hot path: adds no promise of its own where the collection is open. May throw. */
  #read(id: Id, options: ReadOptions | undefined): Promise<Versioned<Value>> {
    const { checks, context, keyPrefix, opening, reader, settings } = this.#parts;
    if (!opening.opened || context.lifecycle.closed)
      return opening.open().then(() => this.#read(id, options));
    const key = checks.key(id);
    return options === undefined
      ? reader.read(key, keyPrefix + key, settings.ttlMs)
      : this.readWith(key, options);
  }

  async getMany(ids: readonly Id[], options: ReadOptions = {}): Promise<(Value | undefined)[]> {
    const { checks, opening, settings } = this.#parts;
    await opening.open();
    this.#checkOptions(options);
    const together = Math.min(READ_TOGETHER, Math.ceil(settings.maxQueuedLoads / 2));
    if (ids.length <= together) return await checks.bounded(() => this.#readPart(ids, options), options);
    const parts = Array.from({ length: Math.ceil(ids.length / together) }, (_, i) =>
      ids.slice(i * together, (i + 1) * together),
    );
    let over = false;
    try {
      return await checks.bounded(() => this.#readParts(parts, options, () => over), options);
    } finally {
      over = true;
    }
  }

  /** One part after the other, with a turn of the event loop between them: others' reads come in between. */
  async #readParts(
    parts: readonly (readonly Id[])[],
    options: ReadOptions,
    isOver: () => boolean,
  ): Promise<(Value | undefined)[]> {
    const values: (Value | undefined)[] = [];
    for (const part of parts) {
      if (isOver()) break;
      for (const value of await this.#readPart(part, options)) values.push(value);
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    return values;
  }

  async #readPart(ids: readonly Id[], options: ReadOptions): Promise<(Value | undefined)[]> {
    const { checks, keyPrefix, reader } = this.#parts;
    const keys = ids.map((id) => checks.key(id));
    const found =
      options.tx === undefined && !options.fresh
        ? await reader.readMany(keys, keyPrefix, checks.ttl(options))
        : await Promise.all(keys.map((key) => this.#readAs(key, options)));
    return found.map(({ value }) => value ?? undefined);
  }

  /** As `getVersioned`, of a key that was checked. */
  readWith(key: string, options: ReadOptions): Promise<Versioned<Value>> {
    this.#checkOptions(options);
    return this.#parts.checks.bounded(() => this.#readAs(key, options), options);
  }

  #checkOptions(options: ReadOptions): void {
    checkOptions(options, READ, 'options');
    options.signal?.throwIfAborted();
  }

  /** What the options ask for. */
  #readAs(key: string, options: ReadOptions): Promise<Versioned<Value>> {
    const { checks, keyPrefix, reader } = this.#parts;
    const { fresh, tx } = options;
    if (tx !== undefined) return this.#readInside(key, tx);
    const ttlMs = checks.ttl(options);
    return fresh ? this.#refresh(key, keyPrefix + key, ttlMs) : reader.read(key, keyPrefix + key, ttlMs);
  }

  async #refresh(key: string, cacheKey: string, ttlMs: number): Promise<Versioned<Value>> {
    // The store does not have what is buffered; where the cache is away there is nothing to ask.
    await this.#parts.writes.flushKey(key).catch((error: unknown) => {
      if (!(error instanceof CacheUnavailableError)) throw error;
    });
    return await this.#parts.reader.refresh(key, cacheKey, ttlMs);
  }

  /** Inside a transaction reads go to it and fill nothing. */
  async #readInside(key: string, tx: Transaction): Promise<Versioned<Value>> {
    const row = await this.#parts.writes.inside.read(key, tx);
    return { value: row?.value ?? null, version: row?.version ?? NO_VERSION, from: 'transaction' };
  }
}
