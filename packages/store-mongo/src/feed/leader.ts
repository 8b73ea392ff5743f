import { type Change, NO_VERSION, StoreContractError, systemClock, type Version } from '@lockstep/core';
import { Backoff, sleep } from '@lockstep/core/kit';
import type { Db, Document, ResumeToken } from 'mongodb';
import { isSameMapping, type SourceRecords } from '../install/records.js';
import type { FeedSettings } from '../options.js';
import type { Binding } from '../rows/binding.js';
import { rowName } from '../rows/names.js';
import { CallBound } from '../wire/bound.js';
import type { Acknowledged } from './acknowledged.js';
import { adopt, reportOnly } from './adoption.js';
import type { ClaimStates, Claims } from './claims.js';
import { type Delivery, deliver, untilDone } from './deliver.js';
import { EventReader, type FeedEvent } from './events.js';
import { FRESH_MS, VersionMemory } from './memory.js';
import { type Lease, type Mark, type Positions, textOf } from './positions.js';
import { highestOf, rescan } from './rescan.js';
import { isHistoryLost, openStream, tokenOfNow } from './stream.js';
import { StreamReader } from './stream-reader.js';
import { toldOf } from './texts.js';

/** The bound of one batch's adoption, in ms. */
const ADOPT_TIMEOUT_MS = 10_000;

/** Short: after an outage of the database, changes wait for no more than the last pause. */
const AFTER_FAILURES = { firstMs: 50, lastMs: 250 };

export interface LeaderContext {
  readonly db: Db;
  readonly bindings: ReadonlyMap<string, Binding>;
  readonly tombstones: string;
  readonly settings: FeedSettings;
  readonly positions: Positions;
  readonly records: SourceRecords;
  readonly acknowledged: Acknowledged;
  readonly claims: Claims;
}

/** The one reader of its group: from the stream through adoption to the handler, then the position. */
export class Leader {
  readonly #context: LeaderContext;
  readonly #lease: Lease;
  readonly #delivery: Delivery;
  /** Aborts with the consumer's signal, and when the lease is another's. */
  readonly #over: AbortController;
  readonly #stream: StreamReader;
  #handling: readonly Document[] = [];
  /** Everything up to here has been handled. */
  #token: ResumeToken;
  /** The start of reading: before `#token` after a change of reader, until it has caught up. */
  #from: ResumeToken;
  /** All sources are known up to `#token`: no position is saved before. */
  #known = false;
  /** Earlier positions, oldest first: the first is old enough to start from. */
  #marks: Mark[] = [];
  #events: EventReader;
  /** Fields that the stream shows of rows, beside keys and versions. */
  #shown: readonly string[] = [];
  /** Events set aside and not yet added to the saved count. */
  #aside = 0;

  constructor(context: LeaderContext, lease: Lease, delivery: Delivery, over: AbortController) {
    this.#context = context;
    this.#lease = lease;
    this.#over = over;
    this.#delivery = { ...delivery, signal: over.signal };
    this.#events = this.#reader(new Map(), Date.now());
    const { bindings, db, settings, tombstones } = context;
    const { maxAwaitTimeMs, maxBuffered, readTimeoutMs } = settings;
    this.#stream = new StreamReader({
      name: `mongodb:${db.databaseName}`,
      open: (from) => {
        this.#shown = this.#columns();
        return openStream(db, [...bindings.values()], tombstones, this.#shown, from, maxAwaitTimeMs);
      },
      maxBuffered,
      patienceMs: maxAwaitTimeMs + readTimeoutMs,
    });
  }

  #reader(highest: Map<string, Version>, sinceMs: number): EventReader {
    const { bindings, db, tombstones, settings } = this.#context;
    const memory = new VersionMemory(settings.maxRemembered, sinceMs);
    const tells = (source: string): boolean => this.#tells(source);
    return new EventReader(bindings, { database: db.databaseName, tombstones, tells }, memory, highest);
  }

  /** Leads until the signal aborts or the lease is lost; gives the lease back. */
  async run(): Promise<void> {
    const { positions, bindings, claims } = this.#context;
    const start = await positions.startOf({ sources: [...bindings.keys()], consumer: claims.consumer });
    for (const binding of bindings.values()) {
      const known = binding.clock.versionOf(start.highest.get(binding.source));
      start.highest.set(binding.source, Math.max(known, await highestOf(binding)));
    }
    this.#token = start.token;
    this.#from = start.warm?.token ?? start.token;
    this.#marks = start.warm === undefined ? [] : [start.warm];
    this.#events = this.#reader(start.highest, start.warm?.atMs ?? Date.now());
    const heartbeat = this.#beat();
    try {
      await this.#reportUnknown(start.unknown);
      await this.#follow();
    } finally {
      this.#over.abort();
      await heartbeat;
      await this.#save(true).catch(this.#delivery.onError);
    }
  }

  /** Nobody has ever read these sources, or it was forgotten: what happened to them so far is not known. */
  async #reportUnknown(unknown: readonly string[]): Promise<void> {
    if (unknown.length > 0) {
      if (this.#token === undefined) await this.#recover();
      else for (const source of unknown) if (!(await this.#rescan(source))) return;
    }
    this.#known = !this.#over.signal.aborted;
  }

  /** Keeps the lease, and saves the position with it. */
  async #beat(): Promise<void> {
    const { leaseMs } = this.#context.settings;
    const { signal } = this.#over;
    let savedMs = performance.now();
    for (;;) {
      await sleep(systemClock, leaseMs / 4, signal);
      if (signal.aborted) return;
      try {
        if (!(await this.#save(false))) this.#over.abort();
        else savedMs = performance.now();
      } catch (error) {
        this.#delivery.onError(error);
        // Nobody can have taken it over while the database did not answer; after that, somebody may.
        if (performance.now() - savedMs > 10 * leaseMs) this.#over.abort();
      }
    }
  }

  /** False: the lease is another's. */
  async #save(release: boolean): Promise<boolean> {
    const oldest = this.#handling[0] ?? this.#stream.oldest;
    const at: unknown = oldest?.['wallTime'];
    const token = this.#known ? this.#token : undefined;
    const aside = this.#aside;
    const nowMs = await this.#context.positions.beat(
      this.#lease,
      {
        token,
        warm: this.#marks[0],
        highest: this.#events.highest,
        aside,
        waiting: this.#stream.caughtUp
          ? {
              count: this.#handling.length + this.#stream.size,
              oldestAtMs: at instanceof Date ? at.getTime() : undefined,
            }
          : undefined,
      },
      release,
    );
    if (nowMs === undefined) return false;
    this.#aside -= aside;
    this.#stream.tell(nowMs);
    if (token !== undefined) this.#marks.push({ token, atMs: nowMs });
    const old = this.#marks.findLastIndex(({ atMs }) => atMs < nowMs - 2 * FRESH_MS);
    if (old > 0) this.#marks.splice(0, old);
    return true;
  }

  /** Reads the stream, opening it anew after each failure, and handles what comes. */
  async #follow(): Promise<void> {
    const { signal } = this.#over;
    const backoff = new Backoff(AFTER_FAILURES);
    while (!signal.aborted) {
      const ended = new AbortController();
      const stop = AbortSignal.any([signal, ended.signal]);
      const reading = this.#stream.read(this.#from, stop, backoff, (token) => this.#idle(token));
      reading.catch(() => ended.abort());
      try {
        await this.#handle(stop).finally(() => ended.abort());
        await reading;
        // What is left was read without fields that are to be told: it comes again, whole.
        if (!this.#showsAll) this.#stream.clear();
      } catch (error) {
        // One reader at a time: this one's stream is closed before another is opened.
        await reading.catch(() => {});
        if (signal.aborted) return;
        this.#delivery.onError(error);
        this.#stream.clear();
        const early = this.#from !== this.#token;
        this.#from = this.#token;
        if (!isHistoryLost(error) || this.#token === undefined) await backoff.wait(signal);
        else if (!early) await this.#recover();
      }
    }
  }

  /** Nothing has come: the server's own token is further than any event's. */
  #idle(token: ResumeToken): void {
    if (this.#stream.size > 0 || this.#handling.length > 0 || textOf(token) < textOf(this.#token)) return;
    this.#token = token;
    this.#from = token;
  }

  async #handle(signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#stream.arrived(signal);
      if (signal.aborted || !this.#showsAll) return;
      this.#handling = this.#stream.take(this.#delivery.batchSize);
      const taken = await this.#take(this.#handling);
      // Changes that were not taken stay, so that no position goes past them.
      if (!taken) return;
      const last = this.#handling.at(-1);
      const token = last?.['_id'] as ResumeToken;
      if (textOf(token) > textOf(this.#token)) this.#token = token;
      this.#from = this.#token;
      this.#handling = [];
      // The stream ends with it; another starts after it.
      if (last?.['operationType'] === 'invalidate') return;
    }
  }

  async #take(batch: readonly Document[]): Promise<boolean> {
    const events = batch.flatMap((event) => {
      const known = textOf(event['_id'] as ResumeToken) <= textOf(this.#token);
      const read = this.#events.read(event);
      // Handled before; it was read for what it teaches of versions.
      return known ? [] : read;
    });
    let adopted: Change[] = [];
    const foreign = Map.groupBy(
      events.filter((event) => event.kind === 'foreign'),
      ({ source }) => source,
    );
    const done = await untilDone(async () => {
      adopted = [];
      for (const [source, theirs] of foreign) adopted.push(...(await this.#adopt(source, theirs)));
      this.#events.expect(adopted);
    }, this.#delivery);
    if (!done || !(await this.#claim(events, adopted))) return false;
    for (const event of events) {
      if (event.kind === 'aside') this.#setAside(event.source, event.problem);
    }
    const resets = new Set(events.flatMap((event) => (event.kind === 'reset' ? [event.source] : [])));
    for (const source of resets) if (!(await this.#rescan(source))) return false;
    return true;
  }

  /** Hands changes over, under the state of the registry that the claimant goes by, until it is the registry's. */
  async #claim(events: readonly FeedEvent[], adopted: readonly Change[]): Promise<boolean> {
    const { acknowledged, claims } = this.#context;
    const { signal } = this.#delivery;
    const sources = new Set([...events, ...adopted].map(({ source }) => source));
    for (;;) {
      const states = await claims.states(sources, signal);
      if (states === undefined) return false;
      let changes: readonly Change[] = this.#changes(events, adopted, states);
      const telling = async (): Promise<void> => {
        changes = await toldOf(this.#context.bindings, events, changes, this.#delivery.columns);
      };
      if (!(await untilDone(telling, this.#delivery))) return false;
      if (!(await deliver(changes, this.#delivery))) return false;
      if (signal.aborted) return false;
      if (!(await claims.stand(states, signal))) continue;
      // The adoptions' own events come back through the stream.
      for (const change of adopted) acknowledged.add(change, states.get(change.source));
      return true;
    }
  }

  /** True where somebody names values of the source's rows. */
  #tells(source: string): boolean {
    return this.#delivery.columns(source).length > 0;
  }

  #columns(): string[] {
    return [...this.#context.bindings.keys()].flatMap((source) => this.#delivery.columns(source));
  }

  /** False where the stream was opened before some field was to be told. */
  get #showsAll(): boolean {
    return this.#columns().every((field) => this.#shown.includes(field));
  }

  /** Counts and tells an event that can't be handled; nothing waits for it. */
  #setAside(source: string, problem: string): void {
    this.#aside += 1;
    this.#delivery.onError(new StoreContractError(`mongodb:${source}: set aside: ${problem}`));
  }

  async #adopt(
    source: string,
    events: readonly Extract<FeedEvent, { kind: 'foreign' }>[],
  ): Promise<Change[]> {
    const binding = this.#context.bindings.get(source);
    if (binding === undefined) return [];
    const bound = new CallBound(`${binding.name}: adopting`, { timeoutMs: ADOPT_TIMEOUT_MS });
    const above = this.#events.highest.get(source) ?? NO_VERSION;
    const latestMs = Math.max(...events.map(({ atMs }) => atMs));
    const call = { bound, session: undefined };
    const adopting = async (): Promise<Change[]> => {
      const record = await this.#context.records.of(source);
      binding.declared.set(record?.declared ?? {});
      const isAttached = isSameMapping(record, binding);
      return await (isAttached ? adopt : reportOnly)(binding, events, above, latestMs, call);
    };
    return await bound.race(adopting());
  }

  /** The newest change of each row, without those that this process has dealt with. */
  #changes(events: readonly FeedEvent[], adopted: readonly Change[], states: ClaimStates): Change[] {
    const newest = new Map<string, Change>();
    const add = (change: Change): void => {
      const row = rowName(change.source, change.key);
      const known = newest.get(row);
      if (known === undefined || known.version < change.version) newest.set(row, change);
    };
    for (const event of events) {
      if (event.kind !== 'versioned') continue;
      const { source, key, version, op, atMs } = event;
      if (!this.#context.acknowledged.has(event, states.get(source), this.#tells(source)))
        add({ source, key, version, op, changedAtMs: atMs });
    }
    for (const change of adopted) add(change);
    return [...newest.values()];
  }

  async #rescan(source: string): Promise<boolean> {
    const binding = this.#context.bindings.get(source);
    if (binding === undefined) return true;
    return await rescan(this.#context.db, binding, this.#events.highest, this.#delivery);
  }

  /**
   * The changes between the position and now are lost. A stream from now on is opened first, so that
   * nothing falls between it and the scan; the lost position stays saved until the scan is through.
   */
  async #recover(): Promise<void> {
    const { db, bindings } = this.#context;
    let fresh: ResumeToken;
    const opened = await untilDone(async () => {
      fresh = await tokenOfNow(db);
    }, this.#delivery);
    if (!opened) return;
    for (const source of bindings.keys()) if (!(await this.#rescan(source))) return;
    this.#token = fresh;
    this.#from = fresh;
    this.#marks = [];
  }
}
