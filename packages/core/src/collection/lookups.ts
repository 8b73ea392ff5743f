import type { LookupValue, UniqueSet } from '../contracts/lookups.js';
import type { ReadOptions, Transaction } from '../contracts/options.js';
import { InvalidIdError, InvalidOptionError, StoreOverloadedError, StoreRefusedError } from '../errors.js';
import { textsOfKey } from '../protocol/lookup.js';
import type { Pointers } from '../read/pointers.js';
import type { CallContext } from './call-context.js';
import { READ } from './call-options.js';
import { CollectionReads } from './reads.js';
import { seen } from './results.js';

/** No row, where the store refuses the key: Lockstep has not written that pointer, so the primary is asked. Throws other errors. */
function asNoRow(error: unknown): { readonly value: null } {
  if (error instanceof StoreRefusedError || error instanceof InvalidIdError) return { value: null };
  throw error;
}

/** How often a pointer and its row are read again because the value went from row to row in between. */
const MAX_TRIES = 5;

/** The calls of a collection that find rows by a unique index, beside those that read by id. */
export class CollectionLookups<Value, Id> extends CollectionReads<Value, Id> {
  readonly #context: CallContext<Value, Id>;

  constructor(context: CallContext<Value, Id>) {
    super(context);
    this.#context = context;
  }

  async getBy<const Index extends UniqueSet<Value>>(
    index: Index,
    value: LookupValue<Value, Index>,
    options: ReadOptions = {},
  ): Promise<Value | undefined> {
    const { checks, opening } = this.#context;
    await opening.open();
    this.checkOptions(options, READ);
    const pointers = this.#pointersOf(index);
    const key = this.#keyOf(pointers, index, value);
    return await checks.bounded(() => this.#find(pointers, key, options), options);
  }

  async getManyBy<const Index extends UniqueSet<Value>>(
    index: Index,
    values: readonly LookupValue<Value, Index>[],
    options: ReadOptions = {},
  ): Promise<(Value | undefined)[]> {
    const all = [...values];
    await this.#context.opening.open();
    this.checkOptions(options, READ);
    const pointers = this.#pointersOf(index);
    const keys = all.map((value) => this.#keyOf(pointers, index, value));
    return await this.inParts(keys, options, (part) => this.#findMany(pointers, part, options));
  }

  /** The pointers of a declared index, whatever the order of its properties. Throws `InvalidOptionError`. */
  #pointersOf(index: UniqueSet<Value>): Pointers {
    const { lookups, settings } = this.#context;
    const asked: readonly unknown[] = Array.isArray(index) ? index : [index];
    const found = lookups.find(
      ({ properties }) =>
        properties.length === asked.length && properties.every((each) => asked.includes(each)),
    );
    if (found !== undefined) return found;
    const known = lookups.map(({ properties }) => `(${properties.join(', ')})`).join(', ') || 'none';
    const problem = `(${asked.map(String).join(', ')}) is not among the collection's unique indexes, which are ${known}`;
    throw new InvalidOptionError('index', problem, { collection: settings.name });
  }

  /** Throws `InvalidIdError`. */
  #keyOf(pointers: Pointers, index: UniqueSet<Value>, value: unknown): string {
    const { name: collection } = this.#context.settings;
    const [property = ''] = pointers.properties;
    const refuse = (problem: string): never => {
      const of = pointers.properties.join(', ');
      throw new InvalidIdError(`collection "${collection}": a value of (${of}) ${problem}`, { collection });
    };
    if (Array.isArray(index) && (typeof value !== 'object' || value === null)) {
      return refuse('must be an object of these properties');
    }
    const parts = (Array.isArray(index) ? value : { [property]: value }) as Readonly<Record<string, unknown>>;
    const empty = pointers.properties.some((each) => parts[each] === undefined || parts[each] === null);
    if (empty) return refuse('must not be null or absent: several rows may have none');
    return pointers.keyOf(parts) ?? refuse('is too long to be looked up');
  }

  async #find(pointers: Pointers, key: string, options: ReadOptions): Promise<Value | undefined> {
    const { fresh, tx } = options;
    if (tx !== undefined) return await this.#findInside(pointers, key, options, tx);
    if (fresh === true) return await this.#findFresh(pointers, key, options);
    const { value: rowKey } = await pointers.reader.read(key, this.#context.checks.ttl(options));
    if (rowKey === null) return undefined;
    const { value } = await this.readAs(rowKey, options).catch(asNoRow);
    // The primary decides where the row has another value.
    return pointers.isOf(value, key) ? (value as Value) : await this.#findFresh(pointers, key, options);
  }

  async #findMany(
    pointers: Pointers,
    keys: readonly string[],
    options: ReadOptions,
  ): Promise<(Value | undefined)[]> {
    if (options.tx !== undefined || options.fresh === true) {
      return await Promise.all(keys.map((key) => this.#find(pointers, key, options)));
    }
    const found = await pointers.reader.readMany(keys, this.#context.checks.ttl(options));
    const rowKeys = found.flatMap(({ value }) => value ?? []);
    const rows = await this.readManyAs(rowKeys, options).catch((error: unknown) => {
      asNoRow(error);
      return Promise.all(rowKeys.map((rowKey) => this.readAs(rowKey, options).catch(asNoRow)));
    });
    const byKey = new Map(rowKeys.map((rowKey, i) => [rowKey, rows[i]?.value ?? null]));
    return await Promise.all(
      keys.map(async (key, i) => {
        const rowKey = found[i]?.value ?? null;
        if (rowKey === null) return undefined;
        const value = byKey.get(rowKey) ?? null;
        return pointers.isOf(value, key) ? (value as Value) : await this.#findFresh(pointers, key, options);
      }),
    );
  }

  /** Finds the row by the primary's pointer; by the primary's row, too, where the cached one has another value. */
  async #findFresh(pointers: Pointers, key: string, options: ReadOptions): Promise<Value | undefined> {
    const { checks, codec, reader, settings } = this.#context;
    const ttlMs = checks.ttl(options);
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const { value: rowKey } = await pointers.reader.refresh(key, ttlMs);
      if (rowKey === null) return undefined;
      if (options.fresh !== true) {
        const { value } = await this.readAs(rowKey, options);
        if (pointers.isOf(value, key)) return value as Value;
      }
      // Compared as stored: a schema may show other values.
      const row = await reader.refresh(rowKey, ttlMs);
      if (pointers.isOf(row.value, key)) return (await seen(codec, row)).value as Value;
    }
    const of = pointers.properties.join(', ');
    const message = `collection "${settings.name}": a value of (${of}) went from row to row faster than it could be read`;
    throw new StoreOverloadedError(message, { collection: settings.name });
  }

  /** Finds the row as a transaction sees it. */
  async #findInside(
    pointers: Pointers,
    key: string,
    options: ReadOptions,
    tx: Transaction,
  ): Promise<Value | undefined> {
    const { settings, store, writes } = this.#context;
    const { timeoutMs = settings.storeTimeoutMs } = options;
    const [rowKey] = await writes.inside.call(tx, async (storeTx) =>
      store.declared === undefined
        ? []
        : await store.declared.find(pointers.properties, [textsOfKey(key)], { timeoutMs, tx: storeTx }),
    );
    if (rowKey === undefined) return undefined;
    const { value } = await this.readAs(rowKey, options);
    return value ?? undefined;
  }
}
