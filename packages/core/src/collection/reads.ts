import type { Versioned } from '../contracts/api.js';
import type { ReadOneOptions, ReadOptions, Transaction } from '../contracts/options.js';
import { NO_VERSION, type Version } from '../contracts/version.js';
import { InvalidOptionError, VersionNotFoundError } from '../errors.js';
import { concerning } from '../kit/concerning.js';
import type { OptionTable } from '../kit/options.js';
import type { NearEntries, NearEntry } from '../near/entries.js';
import { reportHit } from '../read/reports.js';
import { TRACES, traced } from '../runtime/tracing.js';
import { copyOf } from '../values/copy.js';
import type { CallContext } from './call-context.js';
import { READ, READ_ONE } from './call-options.js';
import { checkCall } from './checks.js';
import { seen } from './results.js';

/** Keys of one `getMany` that are asked for at once, in eight calls of the cache: others' reads wait behind no more. */
const READ_TOGETHER = 1_024;

type FoundNear<Value> = NearEntry<Value> | undefined | Promise<NearEntry<Value> | undefined>;

/** The calls of a collection that read. */
export class CollectionReads<Value, Id> {
  readonly #context: CallContext<Value, Id>;
  readonly #near: NearEntries<Value> | undefined;

  constructor(context: CallContext<Value, Id>) {
    this.#context = context;
    this.#near = context.near;
  }

  async get(id: Id, options?: ReadOneOptions): Promise<Value | undefined> {
    if (this.#near !== undefined) {
      const finding = this.#nearBy(this.#near, id, options);
      const found = finding instanceof Promise ? await finding : finding;
      if (found !== undefined) return copyOf(found.value) ?? undefined;
    }
    const { value } = await this.#read(id, options);
    return value ?? undefined;
  }

  async getVersioned(id: Id, options?: ReadOneOptions): Promise<Versioned<Value>> {
    if (this.#near !== undefined) {
      const finding = this.#nearBy(this.#near, id, options);
      const found = finding instanceof Promise ? await finding : finding;
      if (found !== undefined) return { value: copyOf(found.value), version: found.version, from: 'near' };
    }
    return await this.#read(id, options);
  }

  /** The near entry that answers the call; of a wrong one, none: `#read` refuses it, traced. Hot path: adds no promise. */
  #nearBy(near: NearEntries<Value>, id: Id, options: ReadOneOptions | undefined): FoundNear<Value> {
    const { checks, lifecycle, opening } = this.#context;
    if (!opening.opened || lifecycle.closed || this.#goesPast) return undefined;
    let key: string;
    try {
      if (options !== undefined) {
        this.checkOptions(options, READ_ONE);
        if (options.fresh === true || options.tx !== undefined) return undefined;
      }
      key = checks.key(id);
    } catch {
      return undefined;
    }
    return this.#served(near, key, options?.minVersion ?? NO_VERSION);
  }

  /** The near entry of a key; a promise where the cache is asked whether the entry is still what it holds. */
  #served(near: NearEntries<Value>, key: string, minVersion: Version): FoundNear<Value> {
    const { clock, events } = this.#context;
    const startedAtMs = events.hit.wanted ? clock.monotonic() : 0;
    const found = near.find(key, minVersion);
    if (found === undefined) return undefined;
    if (near.validates) return this.#validated(near, found, startedAtMs);
    reportHit(this.#context, key, found, 'near', startedAtMs);
    return found;
  }

  async #validated(
    near: NearEntries<Value>,
    found: NearEntry<Value>,
    startedAtMs: number,
  ): Promise<NearEntry<Value> | undefined> {
    if (!(await near.isStill(found))) return undefined;
    reportHit(this.#context, found.key, found, 'near', startedAtMs);
    return found;
  }

  /** Nothing cached is believed now, or used. */
  get #goesPast(): boolean {
    const { cache, cacheSwitch, member } = this.#context;
    return cacheSwitch.off || cache.trust.anyLost || member?.suspended === true;
  }

  async refresh(id: Id, options?: ReadOneOptions): Promise<Value | undefined> {
    return await this.get(id, { ...options, fresh: true });
  }

  /** Hot path: adds no promise of its own where the collection is open. May throw. */
  #read(
    id: Id,
    options: ReadOneOptions | undefined,
    isTraced = TRACES.get.hasSubscribers,
  ): Promise<Versioned<Value>> {
    const { checks, codec, lifecycle, opening, reader, settings } = this.#context;
    if (isTraced) {
      const message = { collection: settings.name, operation: 'get', keys: 1 } as const;
      return traced('get', message, () => this.#read(id, options, false));
    }
    if (!opening.opened || lifecycle.closed) {
      return opening.open().then(() => this.#read(id, options, false));
    }
    const key = checks.key(id);
    if (options !== undefined) return this.readWith(key, options);
    const reading = reader.read(key, settings.ttlMs, true);
    return codec.hasSchema ? this.#shown(reading) : reading;
  }

  /** Reads in parts, one after the other, with a turn of the event loop between them for other reads. */
  async getMany(ids: readonly Id[], options: ReadOptions = {}): Promise<(Value | undefined)[]> {
    const all = [...ids];
    const { lifecycle, opening } = this.#context;
    if (!opening.opened || lifecycle.closed) await opening.open();
    this.checkOptions(options, READ);
    const reading = () => this.inParts(all, options, (part) => this.#readPart(part, options));
    if (!TRACES.get.hasSubscribers) return await reading();
    const { name: collection } = this.#context.settings;
    return await traced('get', { collection, operation: 'getMany', keys: all.length }, reading);
  }

  /** Within the call's bounds. What comes after them is not begun. */
  protected async inParts<Item>(
    items: Item[],
    options: ReadOptions,
    read: (part: Item[]) => Promise<(Value | undefined)[]>,
  ): Promise<(Value | undefined)[]> {
    const { checks, settings } = this.#context;
    const together = Math.min(READ_TOGETHER, Math.ceil(settings.maxQueuedLoads / 2));
    let over = false;
    const reading = async (): Promise<(Value | undefined)[]> => {
      const values = await read(items.splice(0, together));
      while (items.length > 0 && !over) {
        await new Promise<void>((resolve) => setImmediate(resolve));
        for (const value of await read(items.splice(0, together))) values.push(value);
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
    const { checks } = this.#context;
    const keys = ids.map((id) => checks.key(id));
    if (this.#near !== undefined && options.tx === undefined && options.fresh !== true && !this.#goesPast)
      return await this.#readPartNear(this.#near, keys, options);
    const found = await this.readManyAs(keys, options);
    return found.map(({ value }) => value ?? undefined);
  }

  /** Asks the cache for what is not near. */
  async #readPartNear(
    near: NearEntries<Value>,
    keys: readonly string[],
    options: ReadOptions,
  ): Promise<(Value | undefined)[]> {
    const farKeys: string[] = [];
    const finding = keys.map((key) => this.#served(near, key, NO_VERSION));
    const entries = near.validates
      ? await Promise.all(finding)
      : (finding as (NearEntry<Value> | undefined)[]);
    const found = entries.map((entry, i) => {
      if (entry === undefined) farKeys.push(keys[i] as string);
      return entry && { value: copyOf(entry.value) };
    });
    if (farKeys.length === 0) return found.map((each) => each?.value ?? undefined);
    const far = await this.readManyAs(farKeys, options);
    let next = 0;
    return found.map((each) => (each ?? far[next++])?.value ?? undefined);
  }

  /** Reads as `getVersioned` does, by a key that was checked. */
  protected readWith(key: string, options: ReadOneOptions): Promise<Versioned<Value>> {
    const { checks, store } = this.#context;
    this.checkOptions(options, READ_ONE);
    const { minVersion = NO_VERSION, tx } = options;
    if (minVersion === NO_VERSION) return checks.bounded(() => this.readAs(key, options), options, key);
    if (tx !== undefined) {
      throw new InvalidOptionError(
        'options.minVersion',
        'must not come with a transaction, which reads what it sees',
        { collection: this.#context.settings.name, key },
      );
    }
    if (!store.capabilities.versioned) throw checks.unsupported('versions (minVersion)');
    return checks.bounded(() => this.#readAtLeast(key, minVersion, options), options, key);
  }

  protected checkOptions(options: ReadOptions, known: OptionTable): void {
    try {
      checkCall(options, known);
    } catch (error) {
      throw concerning(error, { collection: this.#context.settings.name });
    }
  }

  /** The primary decides where the cache, or a replica, has not come as far. */
  async #readAtLeast(key: string, minVersion: Version, options: ReadOptions): Promise<Versioned<Value>> {
    const { name } = this.#context.settings;
    let found = await this.readAs(key, options);
    if (found.version >= minVersion) return found;
    if (options.fresh !== true) found = await this.readAs(key, { ...options, fresh: true });
    if (found.version >= minVersion || found.value === null) return found;
    const message = `collection "${name}", key "${key}": the store has version ${found.version}, and ${minVersion} (minVersion) never was in it`;
    throw new VersionNotFoundError(message, { collection: name, key });
  }

  /** As the schema shows it: a hit has been through it. */
  #shown(reading: Promise<Versioned<Value>>): Promise<Versioned<Value>> {
    const { codec } = this.#context;
    if (!codec.hasSchema) return reading;
    return reading.then((found) => (isHit(found) ? found : seen(codec, found)));
  }

  #shownMany(reading: Promise<Versioned<Value>[]>): Promise<Versioned<Value>[]> {
    if (!this.#context.codec.hasSchema) return reading;
    return reading.then((found) => Promise.all(found.map((each) => this.#shown(Promise.resolve(each)))));
  }

  /** Reads as the options ask, position by position. */
  protected readManyAs(keys: readonly string[], options: ReadOptions): Promise<Versioned<Value>[]> {
    const { checks, reader } = this.#context;
    return options.tx === undefined && !options.fresh
      ? this.#shownMany(reader.readMany(keys, checks.ttl(options)))
      : Promise.all(keys.map((key) => this.readAs(key, options)));
  }

  protected readAs(key: string, options: ReadOptions): Promise<Versioned<Value>> {
    const { checks, reader } = this.#context;
    const { fresh, tx } = options;
    if (tx !== undefined) return this.#shown(this.#readInside(key, tx));
    const ttlMs = checks.ttl(options);
    return this.#shown(fresh ? reader.refresh(key, ttlMs) : reader.read(key, ttlMs));
  }

  /** Reads in a transaction, and fills nothing. */
  async #readInside(key: string, tx: Transaction): Promise<Versioned<Value>> {
    const { settings, writes } = this.#context;
    try {
      const row = await writes.inside.read(key, tx);
      return { value: row?.value ?? null, version: row?.version ?? NO_VERSION, from: 'transaction' };
    } catch (error) {
      throw concerning(error, { collection: settings.name, key });
    }
  }
}

function isHit({ from }: Versioned<unknown>): boolean {
  return from === 'cache' || from === 'stale';
}
