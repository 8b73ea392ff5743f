import { type Change, NO_VERSION, StoreContractError, systemClock, type Version } from '@lockstep/core';
import { Backoff, sleep } from '@lockstep/core/kit';
import type { ChangeStream, Db, Document, ResumeToken } from 'mongodb';
import type { FeedSettings } from '../options.js';
import type { Binding } from '../rows/binding.js';
import { CallBound } from '../wire/bound.js';
import type { Acknowledged } from './acknowledged.js';
import { adopt } from './adoption.js';
import type { ClaimStates, Claims } from './claims.js';
import { type Delivery, deliver, untilDone } from './deliver.js';
import { EventReader, type FeedEvent, rowName } from './events.js';
import { FRESH_MS, VersionMemory } from './memory.js';
import { type Lease, type Mark, type Positions, textOf } from './positions.js';
import { ReadWatch } from './read-watch.js';
import { highestOf, rescan } from './rescan.js';
import { isHistoryLost, openStream, tokenOfNow } from './stream.js';

/** The bound of one batch's adoption, in ms. */
const ADOPT_TIMEOUT_MS = 10_000;

const AFTER_FAILURES = { firstMs: 50, lastMs: 1_000 };
/** How long reading waits for room in a full queue. */
const FULL_MS = 5;

export interface LeaderContext {
  readonly db: Db;
  readonly bindings: ReadonlyMap<string, Binding>;
  readonly tombstones: string;
  readonly settings: FeedSettings;
  readonly positions: Positions;
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
  /** Events that were read and not yet handled, oldest first. */
  #queue: Document[] = [];
  #handling: readonly Document[] = [];
  /** Everything up to here has been handled. */
  #token: ResumeToken;
  /** Where reading starts: before `#token` after a change of reader, until it has caught up. */
  #from: ResumeToken;
  /** Whether all sources are known up to `#token`: no position is saved before. */
  #met = false;
  /** Earlier positions, oldest first: the first is old enough to start from. */
  #marks: Mark[] = [];
  #events: EventReader;
  /** Whether all that happened before the stream was opened has been read: what waits unread is not in the queue. */
  #caughtUp = false;
  /** A time, by the server's clock, after the stream was opened. */
  #openedMs = Number.POSITIVE_INFINITY;
  #wake: () => void = () => {};
  /** Events set aside and not yet added to the saved count. */
  #aside = 0;
  readonly #watch: ReadWatch;

  constructor(context: LeaderContext, lease: Lease, delivery: Delivery, over: AbortController) {
    this.#context = context;
    this.#lease = lease;
    this.#over = over;
    this.#delivery = { ...delivery, signal: over.signal };
    this.#events = this.#reader(new Map(), Date.now());
    const { db, settings } = context;
    const patienceMs = settings.maxAwaitTimeMs + settings.readTimeoutMs;
    this.#watch = new ReadWatch(`mongodb:${db.databaseName}: reading the change stream`, patienceMs);
  }

  #reader(highest: Map<string, Version>, sinceMs: number): EventReader {
    const { bindings, db, tombstones, settings } = this.#context;
    const memory = new VersionMemory(settings.maxRemembered, sinceMs);
    return new EventReader(bindings, { database: db.databaseName, tombstones }, memory, highest);
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
      await this.#meet(start.unknown);
      await this.#follow();
    } finally {
      this.#over.abort();
      await heartbeat;
      await this.#save(true).catch(this.#delivery.onError);
    }
  }

  /** Nobody has ever read these sources, or it was forgotten: what happened to them so far is not known. */
  async #meet(unknown: readonly string[]): Promise<void> {
    if (unknown.length > 0) {
      if (this.#token === undefined) await this.#recover();
      else for (const source of unknown) if (!(await this.#rescan(source))) return;
    }
    this.#met = !this.#over.signal.aborted;
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
    const oldest = this.#handling[0] ?? this.#queue[0];
    const at: unknown = oldest?.['wallTime'];
    const token = this.#met ? this.#token : undefined;
    const aside = this.#aside;
    const nowMs = await this.#context.positions.beat(
      this.#lease,
      {
        token,
        warm: this.#marks[0],
        highest: this.#events.highest,
        aside,
        waiting: this.#caughtUp
          ? {
              count: this.#handling.length + this.#queue.length,
              oldestAtMs: at instanceof Date ? at.getTime() : undefined,
            }
          : undefined,
      },
      release,
    );
    if (nowMs === undefined) return false;
    this.#aside -= aside;
    this.#openedMs = Math.min(this.#openedMs, nowMs);
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
      const reading = this.#read(ended.signal, backoff);
      reading.catch(() => ended.abort());
      try {
        await this.#handle(AbortSignal.any([signal, ended.signal])).finally(() => ended.abort());
        await reading;
      } catch (error) {
        // One reader at a time: this one's stream is closed before another is opened.
        await reading.catch(() => {});
        if (signal.aborted) return;
        this.#delivery.onError(error);
        this.#queue = [];
        const early = this.#from !== this.#token;
        this.#from = this.#token;
        if (!isHistoryLost(error) || this.#token === undefined) await backoff.wait(signal);
        else if (!early) await this.#recover();
      }
    }
  }

  async #read(ended: AbortSignal, backoff: Backoff): Promise<void> {
    const { db, bindings, tombstones, settings } = this.#context;
    const stop = AbortSignal.any([this.#over.signal, ended]);
    const stream = openStream(db, [...bindings.values()], tombstones, this.#from, settings.maxAwaitTimeMs);
    this.#caughtUp = false;
    this.#openedMs = Number.POSITIVE_INFINITY;
    const read = new AbortController();
    const left = new AbortController();
    const hang = this.#watch.hang(read.signal).catch((error: unknown) => {
      left.abort();
      throw error;
    });
    try {
      await Promise.race([this.#pump(stream, stop, left.signal, backoff), hang]);
    } finally {
      read.abort();
      const closed = stream.close().catch(() => {});
      if (!left.signal.aborted) await closed;
    }
  }

  /** From the stream into the queue, until told to stop, or the stream was left. */
  async #pump(
    stream: ChangeStream<Document, Document>,
    stop: AbortSignal,
    left: AbortSignal,
    backoff: Backoff,
  ): Promise<void> {
    const { maxBuffered } = this.#context.settings;
    while (!stop.aborted) {
      if (this.#queue.length >= maxBuffered) {
        await sleep(systemClock, FULL_MS, stop);
        continue;
      }
      const event = await this.#watch.during(stream.tryNext());
      // Another stream has taken its place.
      if (left.aborted) return;
      backoff.reset();
      if (event === null) this.#idle(stream);
      else {
        const at: unknown = event['wallTime'];
        if (at instanceof Date && at.getTime() >= this.#openedMs) this.#caughtUp = true;
        this.#queue.push(event);
        this.#wake();
        if (event['operationType'] === 'invalidate') return;
      }
    }
  }

  /** Nothing has come: the server's own token is further than any event's. */
  #idle(stream: ChangeStream<Document, Document>): void {
    this.#caughtUp = true;
    if (this.#queue.length > 0 || this.#handling.length > 0) return;
    const token = stream.resumeToken;
    if (textOf(token) < textOf(this.#token)) return;
    this.#token = token;
    this.#from = token;
  }

  async #handle(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => this.#wake(), { once: true });
    while (!signal.aborted) {
      if (this.#queue.length === 0) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        continue;
      }
      this.#handling = this.#queue.splice(0, this.#delivery.batchSize);
      const taken = await this.#take(this.#handling);
      // What was not taken stays, so that no position goes past it.
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
      if (!(await deliver(this.#changes(events, adopted, states), this.#delivery))) return false;
      if (signal.aborted) return false;
      if (!(await claims.stand(states, signal))) continue;
      // Their own events come back through the stream.
      for (const change of adopted) acknowledged.add(change, states.get(change.source));
      return true;
    }
  }

  /** What can't be handled is counted and told; nothing waits for it. */
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
    return await bound.race(adopt(binding, events, above, latestMs, { bound, session: undefined }));
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
      if (!this.#context.acknowledged.has(event, states.get(source)))
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
   * What lies between the position and now is lost. A stream from now on is opened first, so that
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
