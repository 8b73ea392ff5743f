import { jittered } from '../collection/settings.js';
import type { LeaseReply, Payload } from '../contracts/cache-commands.js';
import type { Version } from '../contracts/version.js';
import { NO_VERSION } from '../contracts/version.js';
import { Backoff } from '../kit/backoff.js';
import { callerSleep } from '../kit/wait.js';
import { Flights, POLLS } from '../read/flights.js';
import { reportFillRefused } from '../read/reports.js';
import { UncacheableKeys } from '../read/uncacheable.js';
import { copyOf } from '../values/copy.js';
import type { ViewRead } from './context.js';
import { rowsOf, tagKeys } from './dependency.js';
import type { FoundTags, Tokens } from './entry.js';
import type { ViewReadContext } from './view-loader.js';

/** How often a view is loaded again because a load has found more that it depends on. */
const MAX_RELOADS = 3;
/** How long a hole keeps its floor, in ms: it numbers the entries of a key, and no correctness rests on it. */
const HOLE_TTL_MS = 60_000;

/** A value, boxed: `undefined` may be one. */
interface Boxed<Value> {
  readonly value: Value;
}

/** A load's value, and what it may be cached under. */
interface LoadedView<Value> extends Boxed<Value> {
  /** `undefined`: it must not be cached. */
  readonly before: Tokens | undefined;
  readonly found: FoundTags | undefined;
}

/**
 * Loads what the cache lacks, once per process and once per fleet (the lease), as with entities. The tags' tokens are asked
 * for before the load, so that a change which the load may have missed replaces one of them.
 *
 * A reader may join a load that began before it only if the tags prove to be unchanged after it has joined (G2).
 */
export class ViewMisses<Params, Value> {
  readonly #context: ViewReadContext<Params, Value>;
  readonly #flights = new Flights<Boxed<Value>>();
  readonly #uncacheable: UncacheableKeys;

  constructor(context: ViewReadContext<Params, Value>) {
    this.#context = context;
    this.#uncacheable = new UncacheableKeys(context.clock);
  }

  /** No reader that begins from now on joins a load that began before, or gets what this process holds. */
  detach(cacheKey: string): void {
    this.#context.near?.drop(cacheKey);
    this.#flights.close(cacheKey);
  }

  /**
   * Joins a load of this process, takes the lease and loads, waits for its holder, or passes by.
   *
   * @param unusable the version of the entry that was found, and that nobody can use
   */
  async read(asked: ViewRead<Params>, unusable: Version | undefined): Promise<Value> {
    const { clock, nextToken, settings } = this.#context;
    const { cacheKey, key } = asked;
    const joined = await this.#flights.join(cacheKey);
    if (joined !== undefined) return joined.value;
    if (!mayFill(asked)) return await this.#context.loader.load(asked);
    if (this.#uncacheable.has(cacheKey)) return await this.#readUncacheable(asked);
    const giveUpAt = clock.monotonic() + settings.leaseWaitMs;
    const token = nextToken();
    let gone = unusable;
    const polls = new Backoff({ ...POLLS, clock });
    for (;;) {
      const { before, lease } = await this.#bid(asked, token, gone);
      if (lease?.outcome === 'granted') return await this.#loadAndFill(asked, token, lease.floor, before);
      if (lease === undefined || before === undefined) return await this.#context.loader.load(asked);
      if (lease.outcome === 'hit') {
        const decoded = await this.#context.tagTokens.decoded(asked, lease.hit, before);
        if (decoded.ok) return decoded.value;
        gone = lease.hit.version;
      } else if (lease.outcome !== 'busy') {
        reportFillRefused(this.#context, key, lease.outcome === 'pass' ? 'writers' : 'foreign');
        return await this.#context.loader.load(asked);
      }
      if (clock.monotonic() >= giveUpAt) return await this.#context.loader.load(asked);
      if (lease.outcome === 'hit') continue;
      // The holder may be of this process: readers of one turn meet here.
      if (!this.#flights.has(cacheKey)) {
        await callerSleep(clock, Math.min(polls.nextMs(), lease.remainingMs + 1));
      }
      const proven = await this.#flights.join(cacheKey);
      if (proven !== undefined) return proven.value;
    }
  }

  /** Joins a load of this process, or loads: without a lease, which would keep the fleet's readers waiting in line. */
  async #readUncacheable(asked: ViewRead<Params>): Promise<Value> {
    const { clock, generations, settings } = this.#context;
    const { cacheKey, tags } = asked;
    const giveUpAt = clock.monotonic() + settings.leaseWaitMs;
    while (clock.monotonic() < giveUpAt) {
      const generation = generations.of(tags) ?? (await generations.prove(tags));
      const before =
        generation === undefined ? undefined : await this.#context.tagTokens.askUnder(generation, tags);
      if (before === undefined) break;
      // Readers of one turn meet here.
      if (!this.#flights.has(cacheKey)) return await this.#loadAndFill(asked, undefined, NO_VERSION, before);
      const joined = await this.#flights.join(cacheKey);
      if (joined !== undefined) return joined.value;
    }
    return await this.#context.loader.load(asked);
  }

  /** Loads, and replaces what the cache holds. */
  async refresh(asked: ViewRead<Params>): Promise<Value> {
    this.#context.near?.drop(asked.cacheKey);
    if (this.#context.cacheSwitch.off || !mayFill(asked)) return await this.#context.loader.load(asked);
    const token = this.#context.nextToken();
    const { before, lease } = await this.#bid(asked, token, undefined);
    if (lease?.outcome === 'granted') return await this.#loadAndFill(asked, token, lease.floor, before);
    const loaded = await this.#load(asked, before);
    if (lease?.outcome === 'hit') await this.#replace(asked, loaded, lease.hit.version + 1);
    return loaded.value;
  }

  /**
   * Asks for the lease and the tokens, in one message. An entry that nobody can use makes way first: the version that it
   * has is refused from then on, and a lease that another reader took behind it stands.
   */
  async #bid(
    { cacheKey, tags }: ViewRead<Params>,
    token: string,
    unusable: Version | undefined,
  ): Promise<{ readonly lease: LeaseReply | undefined; readonly before: Tokens | undefined }> {
    const { cache, codec, generations, settings } = this.#context;
    const generation = generations.of(tags) ?? (await generations.prove(tags));
    if (generation === undefined) return { lease: undefined, before: undefined };
    if (unusable !== undefined) {
      const floor = { key: cacheKey, version: unusable + 1, holeTtlMs: HOLE_TTL_MS, holeOnEmpty: false };
      cache.send({ kind: 'invalidate', ...floor }, () => undefined);
    }
    const { leaseMs } = settings;
    const { encoding } = codec.serializer;
    const bid = { kind: 'lease', key: cacheKey, token, leaseMs, holeTtlMs: HOLE_TTL_MS, encoding } as const;
    const [lease, before] = await Promise.all([
      cache.run(bid).catch(() => undefined),
      this.#context.tagTokens.askUnder(generation, tags),
    ]);
    return { lease, before };
  }

  /**
   * Loads under the lease. The reader gets the value at once; the fill goes on behind it.
   *
   * @param token `undefined`: there is no lease, and nothing is filled
   */
  async #loadAndFill(
    asked: ViewRead<Params>,
    token: string | undefined,
    floor: Version,
    before: Tokens | undefined,
  ): Promise<Value> {
    const { activity } = this.#context;
    const { cacheKey } = asked;
    const flight = this.#flights.begin(cacheKey);
    let loaded: LoadedView<Value>;
    try {
      loaded = await this.#load(asked, before);
    } catch (error) {
      flight.end(undefined);
      if (token !== undefined) this.#release(cacheKey, token);
      throw error;
    } finally {
      this.#flights.close(cacheKey, flight);
    }
    if (flight.joined) {
      // A copy, since this reader may change the value before the others get theirs.
      const shared = { value: copyOf(loaded.value) };
      const { found } = loaded;
      const proving = loaded.before && this.#context.tagTokens.isStill(asked, loaded.before, found);
      activity.track(Promise.resolve(proving).then((still) => flight.end(still ? shared : undefined)));
    } else flight.end(undefined);
    if (token !== undefined) activity.track(this.#fill(asked, token, Math.max(1, floor), loaded));
    return loaded.value;
  }

  /** Loads until a load finds nothing more that the view depends on. */
  async #load(asked: ViewRead<Params>, before: Tokens | undefined): Promise<LoadedView<Value>> {
    const { dependsOn, events, settings } = this.#context;
    let found: FoundTags | undefined;
    for (let reloads = 0; ; reloads++) {
      const value = await this.#context.loader.load(asked);
      const rows = rowsOf(dependsOn(asked.params, value), settings.name);
      await Promise.all(rows.map(({ collection }) => collection.opening.open()));
      const known = new Set([...asked.tags, ...(found?.keys ?? [])]);
      const more = tagKeys(rows, settings.flushFirst).filter((key) => !known.has(key));
      if (more.length === 0) return { value, before, found };
      const uncached = { value, before: undefined, found: undefined };
      if (before === undefined || !rows.every(({ tags }) => tags.member.mayFill())) return uncached;
      if (reloads === MAX_RELOADS) {
        const problem = `dependsOn named more after each of ${1 + MAX_RELOADS} loads: nothing is cached`;
        events.error.emit({ where: 'view', error: new Error(`view "${settings.name}": ${problem}`) });
        return uncached;
      }
      // Asks for all tokens again, so that they are of one generation.
      const keys = [...(found?.keys ?? []), ...more];
      const tokens = await this.#context.tagTokens.ask(keys);
      if (tokens === undefined) return uncached;
      found = { keys, ...tokens };
    }
  }

  /** Never rejects. */
  async #fill(
    asked: ViewRead<Params>,
    token: string,
    version: Version,
    loaded: LoadedView<Value>,
  ): Promise<void> {
    const { cache, events } = this.#context;
    const { cacheKey, key } = asked;
    try {
      // The load may have found that a table is not kept in step any more.
      const payload = mayFill(asked) ? await this.#payload(asked, version, loaded) : undefined;
      if (payload === undefined) return this.#release(cacheKey, token);
      const fill = { kind: 'fill', key: cacheKey, token, version, payload, ...this.#lifetime() } as const;
      const { outcome } = await cache.run(fill);
      if (outcome !== 'filled') reportFillRefused(this.#context, key, outcome);
    } catch (error) {
      this.#release(cacheKey, token);
      events.error.emit({ where: 'fill', error });
    }
  }

  /** Puts a load in the place of the entry that was there before it began. Never rejects. */
  async #replace(asked: ViewRead<Params>, loaded: LoadedView<Value>, version: Version): Promise<void> {
    const { cache, events } = this.#context;
    const { cacheKey } = asked;
    try {
      const payload = await this.#payload(asked, version, loaded);
      if (payload === undefined) return;
      await cache.run({ kind: 'refresh', key: cacheKey, version, payload, ...this.#lifetime() });
    } catch (error) {
      events.error.emit({ where: 'refresh', error });
    }
  }

  /** `undefined`: it must not be cached. */
  async #payload(
    { cacheKey, key }: ViewRead<Params>,
    version: Version,
    { before, found, value }: LoadedView<Value>,
  ): Promise<Payload | undefined> {
    const { codec } = this.#context;
    if (before === undefined) return undefined;
    try {
      const payload = await codec.encode(before, found, value, key, version);
      if (codec.values.fits(payload)) return payload;
    } catch (error) {
      this.#uncacheable.add(cacheKey);
      throw error;
    }
    this.#uncacheable.add(cacheKey);
    reportFillRefused(this.#context, key, 'payload-limit');
    return undefined;
  }

  #lifetime(): { readonly ttlMs: number; readonly staleAtMs: number } {
    const { random, settings } = this.#context;
    return { ttlMs: jittered(settings.ttlMs, settings, random), staleAtMs: 0 };
  }

  #release(cacheKey: string, token: string): void {
    const { activity, cache } = this.#context;
    activity.track(cache.release(cacheKey, token));
  }
}

/** True when every writer knows of all tags. */
function mayFill({ rows }: ViewRead<unknown>): boolean {
  return rows.every(({ tags }) => tags.member.mayFill());
}
