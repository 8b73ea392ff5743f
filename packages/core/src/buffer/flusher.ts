import type { CacheClient } from '../cache/client.js';
import type { CollectionSettings } from '../collection/settings.js';
import type { UnflushedIndex, UnflushedKey } from '../contracts/cache.js';
import type { CacheHit, Payload } from '../contracts/cache-commands.js';
import type { Clock } from '../contracts/clock.js';
import type { FlushJob, QueueAdapter, RefusedWrite } from '../contracts/queue.js';
import type { StoreAdapter, StoreFlush, StoreOutcome } from '../contracts/store.js';
import { isVersion, type Version } from '../contracts/version.js';
import {
  InvalidIdError,
  InvalidOptionError,
  JobRefusedError,
  SerializationError,
  StoreBusyError,
  StoreContractError,
  StoreRefusedError,
  ValidationError,
} from '../errors.js';
import type { Handover } from '../feed/handover.js';
import type { Membership } from '../feed/membership.js';
import { callerSleep, sleep, withTimeout } from '../kit/wait.js';
import { checkKey } from '../protocol/key.js';
import type { Activity } from '../runtime/activity.js';
import type { EventHub } from '../runtime/events.js';
import type { Codec } from '../values/codec.js';
import type { Integrity } from '../values/integrity.js';
import { StoreCommit } from '../write/store-commit.js';
import { Deferrals } from './deferrals.js';

export interface FlusherOptions<Value> {
  readonly settings: CollectionSettings;
  readonly store: StoreAdapter<Value, never>;
  readonly codec: Codec<Value>;
  readonly keyPrefix: string;
  readonly index: string;
  readonly unflushed: UnflushedIndex;
  readonly cache: CacheClient;
  readonly handover: Handover;
  readonly queue: QueueAdapter | undefined;
  readonly integrity: Integrity | undefined;
  readonly clock: Clock;
  readonly events: EventHub;
  readonly activity: Activity;
  readonly lifecycle: { readonly closed: boolean };
  readonly lifetime: (ttlMs: number) => { readonly ttlMs: number; readonly staleAtMs: number };
  readonly member: Membership | undefined;
  /** Told how long each statement took. */
  readonly committed: (storeMs: number) => void;
  /** True while a collection of this database holds a write of any key but that of this one. */
  readonly othersWait: (key: string) => Promise<boolean>;
}

const PAGE = 500;
/** A few first: they tell how large the values are, and the cache client asks for as many at once as it can get in time. */
const FIRST_PAGE = 16;
const FIRST_PAUSE_MS = 20;
const LAST_PAUSE_MS = 2_000;
/** While a row is held by others, or a write waits for others, the rest goes on. */
const BUSY_PAUSE_MS = 100;
/** How long a key's flush is waited for among others, one of which may wait for a row, before it is sent alone. */
const TOGETHER_MS = 300;

/**
 * Brings buffered writes into the store, each with the version that the buffer gave it: whatever is late,
 * repeated or superseded refuses itself there. The index says which keys; the entry is the record.
 */
export class Flusher<Value> {
  readonly #options: FlusherOptions<Value>;
  readonly #index: UnflushedIndex;
  readonly #commit: StoreCommit<Value>;
  /** Buffered by this process and not handed to the queue: flushed from here. */
  readonly #mine = new Map<string, number>();
  /** A key that was added more recently may be that of a write which has not reached its entry yet. */
  readonly #graceMs: number;
  /** Keys that are flushed together. Doubles while all goes well. */
  #page = FIRST_PAGE;
  readonly #deferrals: Deferrals;
  #running = false;
  /** Something was buffered here. */
  #dirty = false;

  constructor(options: FlusherOptions<Value>) {
    const { clock, committed, settings, store, unflushed } = options;
    this.#options = options;
    this.#index = unflushed;
    this.#deferrals = new Deferrals(clock, options.othersWait);
    this.#graceMs = (settings.burst?.ackTimeoutMs ?? 0) + (settings.burst?.maxClockSkewMs ?? 0);
    const { batch, name: collection, storeTimeoutMs } = settings;
    this.#commit = new StoreCommit({ collection, store, storeTimeoutMs, batch, clock, committed });
  }

  /** Keys in the index. */
  size(): Promise<number> {
    return this.#index.size(this.#options.index);
  }

  /** Before this process ends: everything, if it buffered something. */
  async flushOwn(): Promise<void> {
    if (this.#dirty) await this.flushAll();
    this.#dirty = false;
  }

  /** Newly buffered keys: to the queue, or flushed from here where it does not take them. */
  later(keys: readonly UnflushedKey[]): void {
    const { activity, handover, queue, settings } = this.#options;
    this.#dirty = true;
    if (queue === undefined) {
      for (const { key, mark } of keys) this.#mine.set(key, mark);
      this.#run();
      return;
    }
    for (const { key, mark } of keys) {
      const offering = handover.offer({ kind: 'flush', collection: settings.name, key }).then((taken) => {
        if (taken) return;
        this.#mine.set(key, mark);
        this.#run();
      });
      activity.track(offering);
    }
  }

  /** True while an entry, but for that of one key, is unflushed. Looks through the index, whose keys may be done. */
  async hasWaiting(except: string | undefined): Promise<boolean> {
    for (let after = 0; ; ) {
      const page = await this.#index.list(this.#options.index, after, PAGE);
      const open = page.filter(({ key }) => key !== except);
      const hits = await Promise.all(open.map(({ key }) => this.#unflushed(key)));
      if (hits.some((hit) => hit !== undefined)) return true;
      if (page.length < PAGE) return false;
      after = page.at(-1)?.mark ?? after;
    }
  }

  /**
   * Brings the key's buffered write into the store, if there is one. Rejects with the store's error, with
   * `CacheUnavailableError`, or with `StoreBusyError` when others hold the row, or the write waits for others, for
   * longer than `patienceMs`; a write that the store refuses for good is set aside.
   */
  async flushKey(key: string, patienceMs = this.#options.settings.storeTimeoutMs): Promise<void> {
    const { clock } = this.#options;
    const untilMs = clock.monotonic() + patienceMs;
    let pauseMs = 5;
    for (let alone = false; ; alone = true) {
      const hit = await this.#unflushed(key);
      if (hit === undefined) return;
      const leftMs = Math.max(1, untilMs - clock.monotonic());
      const waitMs = alone ? leftMs : Math.min(leftMs, TOGETHER_MS);
      const late = (): Error => new StoreBusyError(`key "${key}": its flush waits for others`, { key });
      try {
        await withTimeout(clock, this.#flush(key, hit, alone), waitMs, late);
        return;
      } catch (error) {
        if (!(error instanceof StoreBusyError) || clock.monotonic() >= untilMs) throw error;
      }
      await callerSleep(clock, Math.min(pauseMs, Math.max(1, untilMs - clock.monotonic())));
      pauseMs = Math.min(2 * pauseMs, BUSY_PAUSE_MS);
    }
  }

  /** The key's buffered write as the store takes it, for a transaction that may hold the row itself. */
  async commandOf(key: string): Promise<StoreFlush<Value> | undefined> {
    const hit = await this.#unflushed(key);
    return hit && (await this.#command(key, hit.version, hit.payload));
  }

  async #unflushed(key: string): Promise<CacheHit | undefined> {
    const { cache, codec, keyPrefix } = this.#options;
    const hit = await cache.read(keyPrefix + key, codec.serializer.encoding);
    return hit?.unflushed === true ? hit : undefined;
  }

  /** What a job of the queue asks for. Rejects with `JobRefusedError` where trying again is pointless. */
  async flushJob(job: FlushJob): Promise<void> {
    const { key, refused } = job;
    if (refused === undefined) {
      await this.flushKey(key);
      return;
    }
    const { version } = refused;
    try {
      const outcome = await this.#store(key, version, payloadOf(refused));
      // An earlier try may have stored it and ended before this.
      if ('version' in outcome) await this.#invalidate(key, outcome.version);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      throw new JobRefusedError(error.message, job, {
        cause: error,
        collection: this.#options.settings.name,
        key,
      });
    }
  }

  /**
   * Flushes every key that is in the index now, whoever buffered it. Resolves with how many had something;
   * rejects with the first error once all have been tried.
   */
  async flushAll(): Promise<number> {
    const settledBefore = await this.#markBefore(this.#graceMs);
    let left = await this.#index.size(this.#options.index);
    let flushed = 0;
    let failure: unknown;
    for (let after = 0; left > 0; ) {
      const limit = this.#page;
      const page = await this.#index.list(this.#options.index, after, limit);
      const { done, failed, found } = await this.#flushPage(page, true);
      await this.#index.remove(
        this.#options.index,
        done.filter(({ mark }) => mark <= settledBefore),
      );
      failure ??= failed;
      flushed += found;
      left = page.length < limit ? 0 : left - page.length;
      after = page.at(-1)?.mark ?? after;
    }
    if (failure !== undefined) throw failure;
    return flushed;
  }

  /**
   * Flushes what has been in the index for longer than `olderThanMs`: what a job was lost for. Resolves
   * with how many had something.
   */
  async sweep(olderThanMs: number, signal: AbortSignal): Promise<number> {
    const newest = await this.#markBefore(Math.max(olderThanMs, this.#graceMs));
    let flushed = 0;
    let failure: unknown;
    for (let after = 0; !signal.aborted; ) {
      const limit = this.#page;
      const page = await this.#index.list(this.#options.index, after, limit);
      const old = page.filter(({ mark }) => mark <= newest);
      const { done, failed, found } = await this.#flushPage(old);
      await this.#index.remove(this.#options.index, done);
      failure ??= failed;
      flushed += found;
      // One that fails every time must not keep the pages behind it from their turn.
      if (old.length < limit || (failed !== undefined && done.length === 0)) break;
      after = old.at(-1)?.mark ?? after;
    }
    if (failure !== undefined) throw failure;
    return flushed;
  }

  /** The mark of that long ago, by the index's clock. */
  async #markBefore(ms: number): Promise<number> {
    const { nowMs } = await this.#index.add(this.#options.index, [], 0);
    return (nowMs - ms) * 1_000;
  }

  /** Adds to the index what the cache holds unflushed: after the index itself may have been lost. */
  async rebuildIndex(signal: AbortSignal): Promise<void> {
    const { cache, codec, index, keyPrefix } = this.#options;
    let keys: string[] = [];
    const add = async (): Promise<void> => {
      if (keys.length > 0) await this.#index.add(index, keys, Number.MAX_SAFE_INTEGER);
      keys = [];
    };
    for await (const { key, unflushed } of cache.scan(keyPrefix, codec.serializer.encoding)) {
      if (signal.aborted) return;
      if (unflushed !== true) continue;
      keys.push(key.slice(keyPrefix.length));
      if (keys.length === PAGE) await add();
    }
    await add();
  }

  async #flushPage(
    page: readonly UnflushedKey[],
    patient = false,
  ): Promise<{ done: UnflushedKey[]; found: number; failed: unknown }> {
    const done: UnflushedKey[] = [];
    let found = 0;
    let failed: unknown;
    const one = async (entry: UnflushedKey): Promise<void> => {
      try {
        const hit = await this.#unflushed(entry.key);
        if (hit !== undefined) {
          found++;
          await (patient ? this.flushKey(entry.key) : this.#flush(entry.key, hit));
        }
        done.push(entry);
      } catch (error) {
        if (failed === undefined || failed instanceof StoreBusyError) failed = error;
      }
    };
    await Promise.all(page.map(one));
    if (!(failed instanceof StoreBusyError)) {
      this.#page = failed === undefined ? Math.min(2 * this.#page, PAGE) : FIRST_PAGE;
    }
    return { done, found, failed };
  }

  #run(): void {
    if (this.#running) return;
    this.#running = true;
    const running = this.#flushMine().finally(() => {
      this.#running = false;
    });
    this.#options.activity.track(running);
  }

  /** Until nothing is left or this process closes; what then is left is in the index. */
  async #flushMine(): Promise<void> {
    const { clock, events, index, lifecycle } = this.#options;
    let pauseMs = FIRST_PAUSE_MS;
    while (this.#mine.size > 0 && !lifecycle.closed) {
      const page: UnflushedKey[] = [];
      for (const [key, mark] of this.#mine) {
        page.push({ key, mark });
        if (page.length === this.#page) break;
      }
      const { done, failed } = await this.#flushPage(page);
      for (const { key, mark } of done) if (this.#mine.get(key) === mark) this.#mine.delete(key);
      await this.#index.remove(index, done).catch(() => undefined);
      if (failed === undefined) {
        pauseMs = FIRST_PAUSE_MS;
        continue;
      }
      // What failed goes behind what has not been tried.
      for (const { key } of page) {
        const mark = this.#mine.get(key);
        if (mark !== undefined && this.#mine.delete(key)) this.#mine.set(key, mark);
      }
      const busy = failed instanceof StoreBusyError;
      if (!busy) events.error.emit({ where: 'flush', error: failed });
      await sleep(clock, pauseMs);
      pauseMs = Math.min(pauseMs * 2, busy ? BUSY_PAUSE_MS : LAST_PAUSE_MS);
    }
  }

  async #flush(key: string, { payload, version }: CacheHit, alone = false): Promise<void> {
    const last = this.#deferrals.isLast(key, version);
    let outcome: Stored<Value>;
    try {
      outcome = await this.#store(key, version, payload, alone);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      if (error instanceof StoreRefusedError && error.mayDependOnOthers) {
        if (!(await this.#deferrals.isFinal(key, version, last))) throw this.#behindOthers(key, error);
      }
      await this.#setAside(key, version, payload, error);
      return;
    }
    this.#deferrals.settled(key);
    if (outcome.kind === 'superseded' && outcome.version !== version) {
      await this.#invalidate(key, outcome.version);
      this.#emit(key, version, 'superseded', outcome.version);
      return;
    }
    await this.#options.member?.flushed(key, version);
    if (await this.#clear(key, version, 'stored')) this.#emit(key, version, 'stored');
  }

  #behindOthers(key: string, cause: Error): StoreBusyError {
    const collection = this.#options.settings.name;
    const message = `collection "${collection}", key "${key}": a buffered write waits for others: ${cause.message}`;
    return new StoreBusyError(message, { cause, collection, key });
  }

  async #store(
    key: string,
    version: Version,
    payload: Payload | null,
    alone = false,
  ): Promise<Stored<Value>> {
    const { settings, store } = this.#options;
    const command = await this.#command(key, version, payload);
    if (!alone) {
      const write = { key, bytes: payload?.length ?? 0, command, ttlMs: 0 };
      return (await this.#commit.submit(write)).outcome;
    }
    const [outcome] = await store.write([command], { timeoutMs: settings.storeTimeoutMs });
    if (outcome?.kind === 'failed') throw outcome.error;
    if (outcome === undefined)
      throw new StoreContractError(`${store.name}: a flush without an outcome`, { key });
    return outcome;
  }

  async #command(key: string, version: Version, payload: Payload | null): Promise<StoreFlush<Value>> {
    const { codec, settings } = this.#options;
    checkKey(key, settings.name);
    if (!isVersion(version)) {
      const message = `collection "${settings.name}", key "${key}": a buffered write of no version`;
      throw new SerializationError(message, { collection: settings.name, key });
    }
    return { kind: 'flush', key, value: await codec.decodeBuffered(payload, key, version), version };
  }

  /** The queue keeps the value, on its way to the dead letters, before the cache lets go of it. */
  async #setAside(key: string, version: Version, payload: Payload | null, error: Error): Promise<void> {
    const { events, integrity, queue, settings } = this.#options;
    const { name: collection } = settings;
    const refused = refusedWrite(version, payload);
    const job = { kind: 'flush', collection, key, refused } as const;
    await queue?.enqueue([integrity?.signed(job) ?? job]);
    // Of several who flush it at once, one takes the mark away.
    const cleared = await this.#clear(key, version, 'refused');
    if (cleared) events.flushRefused.emit({ collection, key, version, refused, error });
  }

  async #clear(key: string, version: Version, outcome: 'stored' | 'refused'): Promise<boolean> {
    const { cache, keyPrefix, lifetime, settings } = this.#options;
    const { holeTtlMs, ttlMs } = settings;
    const entry = { key: keyPrefix + key, version, outcome, holeTtlMs, ...lifetime(ttlMs) };
    const reply = await cache.run({ kind: 'flushed', ...entry });
    return reply.outcome === 'cleared';
  }

  async #invalidate(key: string, version: Version): Promise<void> {
    const { cache, keyPrefix, settings } = this.#options;
    const command = {
      kind: 'invalidate',
      key: keyPrefix + key,
      version,
      holeTtlMs: settings.holeTtlMs,
    } as const;
    await cache.run({ ...command, holeOnEmpty: false });
  }

  #emit(key: string, version: Version, outcome: 'stored' | 'superseded', by?: Version): void {
    const { events, settings } = this.#options;
    if (!events.flush.wanted) return;
    const event = { collection: settings.name, key, version, outcome };
    events.flush.emit(by === undefined ? event : { ...event, by });
  }
}

type Stored<Value> = Exclude<StoreOutcome<Value>, { kind: 'failed' }>;

/** Trying again would end the same way. */
function isRefusal(error: unknown): error is Error {
  return (
    error instanceof StoreRefusedError ||
    error instanceof SerializationError ||
    error instanceof ValidationError ||
    error instanceof InvalidOptionError ||
    error instanceof InvalidIdError
  );
}

function refusedWrite(version: Version, payload: Payload | null): RefusedWrite {
  if (payload === null || typeof payload === 'string') return { version, payload, encoding: 'utf8' };
  return { version, payload: Buffer.from(payload).toString('base64'), encoding: 'base64' };
}

function payloadOf({ encoding, payload }: RefusedWrite): Payload | null {
  return payload !== null && encoding === 'base64' ? Buffer.from(payload, 'base64') : payload;
}
