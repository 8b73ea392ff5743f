import type { Versioned } from '../contracts/api.js';
import type { CacheHit, LeaseReply } from '../contracts/cache-commands.js';
import type { StoreRow } from '../contracts/store.js';
import { NO_VERSION } from '../contracts/version.js';
import { Backoff } from '../kit/backoff.js';
import { callerSleep } from '../kit/wait.js';
import type { Undecoded } from '../values/codec.js';
import { copyOf } from '../values/copy.js';
import { type TagsNow, WHATEVER_ENDED } from '../values/tag-heads.js';
import type { RowTags } from '../views/row-tags.js';
import { Fills } from './fills.js';
import { Flights, POLLS } from './flights.js';
import { versioned } from './loader.js';
import type { Lookup, ReadContext } from './lookup.js';
import { reportFillRefused } from './reports.js';
import type { UncacheableKeys } from './uncacheable.js';

/**
 * Loads what the cache lacks, once per process (single flight) and once per fleet (the lease).
 *
 * A reader may join a load that began before it only if that load proves to be current after the reader
 * began (G2): it joins before the fill is sent, and takes the row only if the fill was accepted, which
 * says that no write came between the lease and the fill. Otherwise it bids for the lease itself.
 */
export class Misses<Value> {
  readonly #context: ReadContext<Value>;
  readonly #fills: Fills<Value>;
  /** Loads that have not sent their fill yet. */
  readonly #flights = new Flights<Versioned<Value>>();
  readonly #strict: boolean;
  readonly #rowTags: RowTags | undefined;

  constructor(context: ReadContext<Value>, uncacheable: UncacheableKeys) {
    this.#context = context;
    this.#fills = new Fills(context, uncacheable);
    this.#strict = context.settings.consistency === 'strict';
    this.#rowTags = context.tags?.rows;
  }

  /**
   * No reader that begins from now on joins a load that began before. Called when a write of the key is
   * acknowledged: the cache may not have heard of it, and the fill be accepted.
   */
  detach(cacheKey: string): void {
    this.#flights.close(cacheKey);
  }

  /** See {@link Fills.sent}. */
  sent(cacheKey: string): Promise<void> {
    return this.#fills.sent(cacheKey);
  }

  /** Joins a load of this process, takes the lease and loads, waits for its holder, or passes by. */
  async read(lookup: Lookup): Promise<Versioned<Value>> {
    const { clock, codec, loader, member, nextToken, settings } = this.#context;
    const { cacheKey, key } = lookup;
    const joined = this.#flights.has(cacheKey) ? await this.#flights.join(cacheKey) : undefined;
    if (joined !== undefined) return joined;
    if (member?.mayFill() === false) return await loader.loadOnly(key);
    const giveUpAt = clock.monotonic() + settings.leaseWaitMs;
    const token = nextToken();
    const polls = new Backoff({ ...POLLS, clock });
    for (;;) {
      const asking = this.#rowTags?.ask();
      const reply = await this.#fills.lease(cacheKey, token);
      if (reply === undefined) return await loader.loadOnly(key);
      const now = asking && (await asking);
      if (reply.outcome === 'hit') {
        const decoded = await codec.decode(reply.hit, key, now);
        if (decoded.ok) return { value: decoded.value, version: reply.hit.version, from: 'cache' };
        return await this.loadInstead(lookup, reply.hit, decoded.reason);
      }
      if (reply.outcome === 'granted') return await this.#loadAndFill(lookup, token, reply, now);
      if (reply.outcome !== 'busy' || clock.monotonic() >= giveUpAt) {
        if (reply.outcome !== 'busy')
          reportFillRefused(this.#context, key, reply.outcome === 'pass' ? 'writers' : 'foreign');
        return await loader.loadOnly(key);
      }
      if (!this.#flights.has(cacheKey)) {
        await callerSleep(clock, Math.min(polls.nextMs(), reply.remainingMs + 1));
        continue;
      }
      // The holder is of this process: readers of one turn, and of one `getMany`, meet here.
      const proven = await this.#flights.join(cacheKey);
      if (proven !== undefined) return proven;
    }
  }

  /** Loads in the place of a hit that can't be used. */
  async loadInstead(
    lookup: Lookup,
    { unflushed }: CacheHit,
    reason: Undecoded['reason'],
  ): Promise<Versioned<Value>> {
    const { flushKey, loader } = this.#context;
    const isShape = reason === 'shape' || reason === 'later-shape';
    // The store lacks the buffered write.
    if (isShape && unflushed === true) await flushKey?.(lookup.key);
    // A fill from here would lack columns that the entry's writer knows, and both processes would replace it for ever.
    if (reason === 'later-shape') return await loader.loadOnly(lookup.key);
    return await this.reload(lookup, reason);
  }

  /**
   * Loads from the primary and replaces what the cache holds: a value by a newer one, a hole by a fill.
   * The cached entry can be read until then, and stays where the load fails.
   *
   * @param unreadable nobody can use what is cached; `integrity`: not even its version
   */
  async reload(lookup: Lookup, unreadable?: Undecoded['reason']): Promise<Versioned<Value>> {
    const { activity, loader, member, nextToken } = this.#context;
    const { cacheKey, key } = lookup;
    if (member?.mayFill() === false) return await loader.loadOnly(key);
    if (unreadable === 'integrity') await this.#fills.dropEntry(cacheKey);
    const token = nextToken();
    const asking = this.#rowTags?.ask();
    let reply = await this.#fills.lease(cacheKey, token);
    const now = asking && (await asking);
    if (reply?.outcome === 'hit' && reply.hit.version === NO_VERSION && mayGo(reply.hit, unreadable)) {
      await this.#fills.dropEntry(cacheKey);
      reply = await this.#fills.lease(cacheKey, token);
    }
    if (reply?.outcome === 'granted') {
      return await this.#loadAndFill(lookup, token, reply, now, true);
    }
    const row = await loader.load(key, true);
    // The reader does not wait for the replacement, and a failed one is left to the next reader.
    const isMarked = this.#rowTags === undefined || now !== undefined;
    if (isMarked && reply?.outcome === 'hit' && (await this.#mayReplace(key, row, reply.hit))) {
      activity.track(this.#fills.replace(lookup, row, reply.hit, now?.mark));
    }
    return versioned(row);
  }

  /** False of an entry of a later shape that is as new as the row. */
  async #mayReplace(key: string, row: StoreRow<Value> | undefined, hit: CacheHit): Promise<boolean> {
    const { codec, store } = this.#context;
    if (store.shape === undefined || row === undefined || row.version > hit.version) return true;
    const decoded = await codec.decode(hit, key, WHATEVER_ENDED);
    return decoded.ok || decoded.reason !== 'later-shape';
  }

  /**
   * Loads under the lease. The reader gets the row at once; the fill goes on behind it.
   *
   * @param now where rows have tags: what was told of them before; `undefined`: it could not be told
   */
  async #loadAndFill(
    lookup: Lookup,
    token: string,
    { behind, floor }: Extract<LeaseReply, { outcome: 'granted' }>,
    now: TagsNow | undefined,
    primary = this.#strict,
  ): Promise<Versioned<Value>> {
    const { activity, events, loader, store } = this.#context;
    const { cacheKey, key } = lookup;
    const rowTags = this.#rowTags;
    if (rowTags !== undefined && now === undefined) {
      this.#fills.release(cacheKey, token);
      return await loader.loadOnly(key);
    }
    if ((behind || this.#strict) && !(await this.#fills.mayFill(lookup, behind === true))) {
      this.#fills.release(cacheKey, token);
      reportFillRefused(this.#context, key, 'writers');
      return await loader.loadOnly(key);
    }
    const flight = this.#flights.begin(cacheKey);
    let row: StoreRow<Value> | undefined;
    try {
      row = await loader.load(key, primary);
      const lags = (row?.version ?? NO_VERSION) < floor;
      if (lags && store.capabilities.replicaReads) row = await loader.load(key, true);
    } catch (error) {
      this.#flights.close(cacheKey, flight);
      flight.end(undefined);
      this.#fills.release(cacheKey, token);
      throw error;
    }
    const found = versioned(row);
    this.#flights.close(cacheKey, flight);
    // A copy, since this reader may change the row before the others get theirs.
    const shared = flight.joined ? { ...found, value: copyOf(found.value) } : found;
    // An accepted fill does not prove that no tag was ended meanwhile.
    const proving = flight.joined && now !== undefined ? rowTags?.isStill(now) : undefined;
    const filling = this.#fills.fill(lookup, token, floor, row, now?.mark).then(
      (filled) => {
        if (proving === undefined || !filled) flight.end(filled ? shared : undefined);
        else void proving.then((still) => flight.end(still ? shared : undefined));
      },
      (error: unknown) => {
        flight.end(undefined);
        this.#fills.release(cacheKey, token);
        events.error.emit({ where: 'fill', error });
      },
    );
    activity.track(filling);
    return found;
  }
}

/** True when the entry holds no value that a reader could still use. */
function mayGo({ payload }: CacheHit, unreadable: Undecoded['reason'] | undefined): boolean {
  return payload === null || unreadable !== undefined;
}
