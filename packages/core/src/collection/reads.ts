import type { Versioned } from '../contracts/api.js';
import type { ReadOptions, Transaction } from '../contracts/options.js';
import { NO_VERSION } from '../contracts/version.js';
import { CacheUnavailableError } from '../errors.js';
import { checkOptions } from '../kit/options.js';
import type { CallContext } from './call-context.js';
import { READ } from './call-options.js';
import { seen } from './results.js';

/** Keys of one `getMany` that are asked for at once, in two calls of the cache: others' reads wait behind no more. */
const READ_TOGETHER = 1_024;

/** The calls of a collection that read. */
export class CollectionReads<Value, Id> {
  readonly #context: CallContext<Value, Id>;

  constructor(context: CallContext<Value, Id>) {
    this.#context = context;
  }

  async get(id: Id, options?: ReadOptions): Promise<Value | undefined> {
    const { value } = await this.#read(id, options);
    return value ?? undefined;
  }

  async getVersioned(id: Id, options?: ReadOptions): Promise<Versioned<Value>> {
    return await this.#read(id, options);
  }

  async refresh(id: Id, options?: ReadOptions): Promise<Value | undefined> {
    return await this.get(id, { ...options, fresh: true });
  }

  /** Hot path: adds no promise of its own where the collection is open. May throw. */
  #read(id: Id, options: ReadOptions | undefined): Promise<Versioned<Value>> {
    const { checks, codec, lifecycle, opening, reader, settings } = this.#context;
    if (!opening.opened || lifecycle.closed) {
      return opening.open().then(() => this.#read(id, options));
    }
    const key = checks.key(id);
    if (options !== undefined) return this.readWith(key, options);
    const reading = reader.read(key, settings.ttlMs);
    return codec.hasSchema ? this.#shown(reading) : reading;
  }

  /** In parts, one after the other, with a turn of the event loop between them: others' reads come in between. */
  async getMany(ids: readonly Id[], options: ReadOptions = {}): Promise<(Value | undefined)[]> {
    const { checks, opening, settings } = this.#context;
    const all = [...ids];
    await opening.open();
    this.#checkOptions(options);
    const together = Math.min(READ_TOGETHER, Math.ceil(settings.maxQueuedLoads / 2));
    let over = false;
    const reading = async (): Promise<(Value | undefined)[]> => {
      const values = await this.#readPart(all.splice(0, together), options);
      while (all.length > 0 && !over) {
        await new Promise<void>((resolve) => setImmediate(resolve));
        for (const value of await this.#readPart(all.splice(0, together), options)) values.push(value);
      }
      return values;
    };
    try {
      return await checks.bounded(reading, options);
    } finally {
      over = true;
    }
  }

  async #readPart(ids: readonly Id[], options: ReadOptions): Promise<(Value | undefined)[]> {
    const { checks, reader } = this.#context;
    const keys = ids.map((id) => checks.key(id));
    const found =
      options.tx === undefined && !options.fresh
        ? await this.#shownMany(reader.readMany(keys, checks.ttl(options)))
        : await Promise.all(keys.map((key) => this.#readAs(key, options)));
    return found.map(({ value }) => value ?? undefined);
  }

  /** Reads as `getVersioned` does, by a key that was checked. */
  protected readWith(key: string, options: ReadOptions): Promise<Versioned<Value>> {
    this.#checkOptions(options);
    return this.#context.checks.bounded(() => this.#readAs(key, options), options);
  }

  #checkOptions(options: ReadOptions): void {
    checkOptions(options, READ, 'options');
    options.signal?.throwIfAborted();
  }

  /** As the schema shows it: a hit has been through it. */
  #shown(reading: Promise<Versioned<Value>>): Promise<Versioned<Value>> {
    const { codec } = this.#context;
    if (!codec.hasSchema) return reading;
    return reading.then((found) => (found.from === 'cache' ? found : seen(codec, found)));
  }

  async #shownMany(reading: Promise<Versioned<Value>[]>): Promise<Versioned<Value>[]> {
    const found = await reading;
    if (!this.#context.codec.hasSchema) return found;
    return await Promise.all(found.map((each) => this.#shown(Promise.resolve(each))));
  }

  /** Reads as the options ask. */
  #readAs(key: string, options: ReadOptions): Promise<Versioned<Value>> {
    const { checks, reader } = this.#context;
    const { fresh, tx } = options;
    if (tx !== undefined) return this.#shown(this.#readInside(key, tx));
    const ttlMs = checks.ttl(options);
    return this.#shown(fresh ? this.#refresh(key, ttlMs) : reader.read(key, ttlMs));
  }

  async #refresh(key: string, ttlMs: number): Promise<Versioned<Value>> {
    // The store does not have what is buffered; where the cache is away there is nothing to ask.
    await this.#context.writes.flushKey(key).catch((error: unknown) => {
      if (!(error instanceof CacheUnavailableError)) throw error;
    });
    return await this.#context.reader.refresh(key, ttlMs);
  }

  /** Inside a transaction reads go to it and fill nothing. */
  async #readInside(key: string, tx: Transaction): Promise<Versioned<Value>> {
    const row = await this.#context.writes.inside.read(key, tx);
    return { value: row?.value ?? null, version: row?.version ?? NO_VERSION, from: 'transaction' };
  }
}
