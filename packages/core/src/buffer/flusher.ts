import type { CollectionContext } from '../collection/context.js';
import type { UnflushedKey } from '../contracts/cache.js';
import type { CacheHit, Payload } from '../contracts/cache-commands.js';
import type { FlushJob, RefusedWrite } from '../contracts/queue.js';
import type { StoreFlush, StoreOutcome } from '../contracts/store.js';
import { isVersion, NO_VERSION, type Version } from '../contracts/version.js';
import {
  isRefusal,
  JobRefusedError,
  messageOf,
  QueueUnavailableError,
  SerializationError,
  StoreBusyError,
  StoreContractError,
  StoreRefusedError,
  StoreUnavailableError,
} from '../errors.js';
import { Backoff } from '../kit/backoff.js';
import { Deadline, withTimeout } from '../kit/wait.js';
import { isSamePayload } from '../protocol/entry.js';
import { checkKey } from '../protocol/key.js';
import { withoutHead } from '../values/tag-heads.js';
import { StoreCommit } from '../write/store-commit.js';
import { Deferrals } from './deferrals.js';

export interface FlusherOptions {
  /** Told how long each statement took. */
  readonly committed: (storeMs: number) => void;
  /** True while a collection of this database holds a write of any key but that of this one. */
  readonly othersWait: (key: string) => Promise<boolean>;
}

/** The outcome of a page of the index. */
export interface FlushedPage {
  /** Keys of which the store has what was buffered, if anything was. */
  readonly done: readonly UnflushedKey[];
  /** How many of them had something. */
  readonly found: number;
  /** The first failure; one that is not `StoreBusyError` where there is one. */
  readonly failed: unknown;
}

const MAX_PAGE = 500;
/** A few first: they tell how large the values are, and the cache client asks for as many at once as it can get in time. */
const FIRST_PAGE = 16;
/** The pause of a key whose row others hold, or whose write waits for others. The other keys go on. */
export const BUSY_PAUSE_MS = 100;
/** How long a key's flush is waited for among others, one of which may wait for a row, before it is sent alone. */
const TOGETHER_MS = 300;

/**
 * Brings buffered writes into the store, each with the version that the buffer gave it: whatever is late,
 * repeated or superseded refuses itself there. The entry is the record of what to write.
 */
export class Flusher<Value> {
  readonly #collection: CollectionContext<Value>;
  readonly #commit: StoreCommit<Value>;
  readonly #deferrals: Deferrals;
  #pageSize = FIRST_PAGE;
  #opening: Promise<void> | undefined;

  constructor(collection: CollectionContext<Value>, { committed, othersWait }: FlusherOptions) {
    this.#collection = collection;
    this.#deferrals = new Deferrals(collection.clock, othersWait);
    this.#commit = new StoreCommit(collection, { committed });
  }

  /** Keys that are flushed together. Doubles while all goes well. */
  get pageSize(): number {
    return this.#pageSize;
  }

  /** Flushes keys together. `patient`: each as `flushKey` does. Does not reject. */
  async flushPage(page: readonly UnflushedKey[], patient = false): Promise<FlushedPage> {
    const done: UnflushedKey[] = [];
    let found = 0;
    let failed: unknown;
    const one = async (entry: UnflushedKey): Promise<void> => {
      try {
        if (await (patient ? this.flushKey(entry.key) : this.#flushOnce(entry.key))) found++;
        done.push(entry);
      } catch (error) {
        if (failed === undefined || failed instanceof StoreBusyError) failed = error;
      }
    };
    await Promise.all(page.map(one));
    if (!(failed instanceof StoreBusyError)) {
      this.#pageSize = failed === undefined ? Math.min(2 * this.#pageSize, MAX_PAGE) : FIRST_PAGE;
    }
    return { done, found, failed };
  }

  async #flushOnce(key: string): Promise<boolean> {
    const hit = await this.unflushed(key);
    if (hit !== undefined) await this.#flush(key, hit);
    return hit !== undefined;
  }

  /** As {@link BufferedWrites.flushKey}; false where nothing was buffered. */
  async flushKey(key: string, patienceMs = this.#collection.settings.storeTimeoutMs): Promise<boolean> {
    const { clock, random } = this.#collection;
    const late = (): Error => new StoreBusyError(`key "${key}": its flush waits for others`, { key });
    const deadline = new Deadline({ clock, timeoutMs: patienceMs, late });
    const pauses = new Backoff({ clock, random, firstMs: 5, lastMs: BUSY_PAUSE_MS });
    for (let alone = false; ; alone = true) {
      const hit = await this.unflushed(key);
      if (hit === undefined) return alone;
      try {
        await (alone ? deadline : deadline.narrowed(TOGETHER_MS)).bound(this.#flush(key, hit, alone));
        return true;
      } catch (error) {
        if (!(error instanceof StoreBusyError) || !(await pauses.waitWithin(deadline))) throw error;
      }
    }
  }

  /** The key's buffered write as the store takes it, for a transaction that may hold the row itself. */
  async commandOf(key: string): Promise<StoreFlush<Value> | undefined> {
    const hit = await this.unflushed(key);
    return hit && (await this.#command(key, hit));
  }

  /** The key's entry, if it is unflushed. */
  async unflushed(key: string): Promise<CacheHit | undefined> {
    const { cache, codec, keyPrefix } = this.#collection;
    const hit = await cache.read(keyPrefix + key, codec.serializer.encoding);
    return hit?.unflushed === true ? hit : undefined;
  }

  /** As {@link BufferedWrites.flushJob}. */
  async flushJob(job: FlushJob): Promise<void> {
    const { key, refused } = job;
    if (refused === undefined) {
      await this.flushKey(key);
      return;
    }
    try {
      const buffered = { version: refused.version, payload: payloadOf(refused) };
      const outcome = await this.#store(key, buffered);
      // An earlier try may have stored it and ended before this.
      if ('version' in outcome) await this.#invalidate(key, outcome.version);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      const collection = this.#collection.settings.name;
      throw new JobRefusedError(error.message, job, { cause: error, collection, key });
    }
  }

  async #flush(key: string, buffered: BufferedEntry, alone = false): Promise<void> {
    const { version } = buffered;
    const last = this.#deferrals.isLast(key, version);
    const { member, tags } = this.#collection;
    const mark = tags?.rows?.mark();
    let outcome: Stored<Value>;
    try {
      outcome = await this.#store(key, buffered, alone);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      if (error instanceof StoreRefusedError && error.mayDependOnOthers) {
        if (!(await this.#deferrals.isFinal(key, version, last))) throw this.#behindOthers(key, error);
      }
      await this.#setAside(key, buffered, error);
      return;
    }
    this.#deferrals.forget(key);
    if (outcome.kind === 'superseded' && outcome.version !== version) {
      await this.#invalidate(key, outcome.version);
      this.#emit(key, version, 'superseded', outcome.version);
      return;
    }
    member?.touch();
    const written = outcome.kind === 'written' ? outcome : undefined;
    await member?.dealtWith(undefined, key, version, written);
    const clearing = this.#clear(key, version, 'stored');
    // Sent behind it, in the same batch.
    const showing = outcome.kind === 'written' ? this.#show(key, buffered.payload, outcome, mark) : undefined;
    const [cleared] = await Promise.all([clearing, showing]);
    // Another process has stored the write, and may have ended before it could show the row.
    if (cleared && outcome.kind === 'superseded') await this.#invalidate(key, NO_VERSION);
    if (cleared) this.#emit(key, version, 'stored');
  }

  /** Readers get the row that the store made of what was buffered. */
  async #show(
    key: string,
    sent: Payload | null,
    { value, version }: Written<Value>,
    mark: string | undefined,
  ): Promise<void> {
    if (value === null) return;
    const { cache, codec, events, keyPrefix, lifetime, settings } = this.#collection;
    let payload: Payload | undefined;
    try {
      const encoding = codec.encode(value, key, version, mark);
      payload = encoding instanceof Promise ? await encoding : encoding;
    } catch (error) {
      events.error.emit({ where: 'serialize', error });
    }
    if (payload === undefined || !codec.fits(payload)) return await this.#invalidate(key, NO_VERSION);
    if (sent !== null && isSamePayload(withoutHead(payload), withoutHead(sent))) return;
    const entry = { key: keyPrefix + key, version, payload, ...lifetime(settings.ttlMs) };
    await cache.run({ kind: 'refresh', ...entry });
  }

  #behindOthers(key: string, cause: Error): StoreBusyError {
    const collection = this.#collection.settings.name;
    const message = `collection "${collection}", key "${key}": a buffered write waits for others: ${cause.message}`;
    return new StoreBusyError(message, { cause, collection, key });
  }

  async #store(key: string, buffered: BufferedEntry, alone = false): Promise<Stored<Value>> {
    const { settings, store } = this.#collection;
    const command = await this.#command(key, buffered);
    if (!alone) {
      const write = { key, bytes: buffered.payload?.length ?? 0, command, ttlMs: 0 };
      return (await this.#commit.submit(write)).outcome;
    }
    const [outcome] = await store.write([command], { timeoutMs: settings.storeTimeoutMs });
    if (outcome?.kind === 'failed') throw outcome.error;
    if (outcome === undefined)
      throw new StoreContractError(`${store.name}: a flush without an outcome`, { key });
    return outcome;
  }

  async #command(key: string, { payload, version }: BufferedEntry): Promise<StoreFlush<Value>> {
    const { codec, settings } = this.#collection;
    checkKey(key, settings.name);
    if (!isVersion(version)) {
      const message = `collection "${settings.name}", key "${key}": a buffered write of no version`;
      throw new SerializationError(message, { collection: settings.name, key });
    }
    await this.#openStore();
    return { kind: 'flush', key, ...(await codec.decodeBuffered(payload, key, version)), version };
  }

  /** A worker may have called its store for nothing yet, and what is buffered is read as the open table has it. */
  #openStore(): Promise<void> {
    const { clock, settings, store } = this.#collection;
    const { name, storeTimeoutMs } = settings;
    const late = (): Error => {
      const message = `collection "${name}": the store was not open after ${storeTimeoutMs} ms`;
      return new StoreUnavailableError(message, 'not-committed', { collection: name });
    };
    this.#opening ??= withTimeout(clock, Promise.resolve(store.open?.()), storeTimeoutMs, late).catch(
      (error: unknown) => {
        this.#opening = undefined;
        // Whatever it is, it is none of what was buffered, which waits.
        const message = `collection "${name}": the store does not open: ${messageOf(error)}`;
        throw new StoreUnavailableError(message, 'not-committed', { cause: error, collection: name });
      },
    );
    return this.#opening;
  }

  /** The queue keeps the value, on its way to the dead letters, before the cache lets go of it. */
  async #setAside(key: string, buffered: BufferedEntry, error: Error): Promise<void> {
    const { events, handover, queue, settings } = this.#collection;
    const { name: collection } = settings;
    const { version } = buffered;
    const refused = refusedWrite(buffered);
    if (queue !== undefined && !(await handover.offer({ kind: 'flush', collection, key, refused }))) {
      const message = `collection "${collection}", key "${key}": the queue did not take a refused write`;
      throw new QueueUnavailableError(message, { cause: error, collection, key });
    }
    // Only one of several processes that flush the key at once takes the mark away, and emits the event.
    const cleared = await this.#clear(key, version, 'refused');
    if (cleared) events.flushRefused.emit({ collection, key, version, refused, error });
  }

  async #clear(key: string, version: Version, outcome: 'stored' | 'refused'): Promise<boolean> {
    const { cache, keyPrefix, lifetime, settings } = this.#collection;
    const { holeTtlMs, ttlMs } = settings;
    const entry = { key: keyPrefix + key, version, outcome, holeTtlMs, ...lifetime(ttlMs) };
    const reply = await cache.run({ kind: 'flushed', ...entry });
    return reply.outcome === 'cleared';
  }

  async #invalidate(key: string, version: Version): Promise<void> {
    const { cache, keyPrefix, settings } = this.#collection;
    const { holeTtlMs } = settings;
    await cache.run({ kind: 'invalidate', key: keyPrefix + key, version, holeTtlMs, holeOnEmpty: false });
  }

  #emit(key: string, version: Version, outcome: 'stored' | 'superseded', by?: Version): void {
    const { events, settings } = this.#collection;
    if (!events.flush.wanted) return;
    events.flush.emit({
      collection: settings.name,
      key,
      version,
      outcome,
      ...(by === undefined ? {} : { by }),
    });
  }
}

/** A buffered write as the cache keeps it. */
type BufferedEntry = Pick<CacheHit, 'payload' | 'version'>;

type Stored<Value> = Exclude<StoreOutcome<Value>, { kind: 'failed' }>;
type Written<Value> = Extract<StoreOutcome<Value>, { kind: 'written' }>;

function refusedWrite({ payload, version }: BufferedEntry): RefusedWrite {
  if (payload === null || typeof payload === 'string') return { version, payload, encoding: 'utf8' };
  return { version, payload: Buffer.from(payload).toString('base64'), encoding: 'base64' };
}

function payloadOf({ encoding, payload }: RefusedWrite): Payload | null {
  return payload !== null && encoding === 'base64' ? Buffer.from(payload, 'base64') : payload;
}
