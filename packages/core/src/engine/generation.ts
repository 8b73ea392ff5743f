import { createHash } from 'node:crypto';
import type { CacheAdapter, LeaseCommand } from '../contracts/cache.js';
import type { CancelTimer, Clock } from '../contracts/clock.js';
import { keyPrefix } from '../key.js';
import { sleep, withTimeout } from './bounded.js';
import type { CacheClient } from './cache-client.js';
import type { EventHub } from './events.js';

export interface GenerationWatchOptions {
  readonly adapter: CacheAdapter;
  readonly cache: CacheClient;
  readonly prefix: string;
  /** Whose changes a replay hands over: relays of others have to replay for themselves. */
  readonly collections: readonly string[];
  readonly clock: Clock;
  readonly events: EventHub;
  readonly nextToken: () => string;
  readonly timeoutMs: number;
}

const POLL_MS = 1_000;
/** Replayed at the least: what an asynchronous replica can have lost, many times over. */
const WINDOW_MS = 15 * 60_000;
/** The marker is at most this much behind the last write that the cache kept. */
const MARKER_MARGIN_MS = 30_000;
const MARKER_TTL_MS = 7 * 24 * 3_600_000;
const LEASE_MS = 10_000;

/**
 * Notices a cache that may have lost acknowledged writes (restarted from an old snapshot, failed over to
 * a lagging replica) and has the change feed replayed. A marker in the cache itself tells how far back:
 * it carries the generation under which it was last refreshed, and the time as its version. A marker of
 * another generation, or none, means that nobody has replayed for this one yet; its lease makes one
 * relay of many do it. Each feed has one of its own, since it is replayed by itself.
 */
export class GenerationWatch {
  readonly #options: GenerationWatchOptions;
  readonly #key: string;

  constructor(options: GenerationWatchOptions) {
    this.#options = options;
    const names = JSON.stringify(options.collections.toSorted());
    const digest = createHash('sha256').update(names).digest('base64url').slice(0, 16);
    // Collections have names, so an empty one can't collide.
    this.#key = `${keyPrefix(options.prefix, '')}generation:${digest}`;
  }

  /** Watches until the signal aborts; `replay` gets the time, in ms since the epoch, to start from. */
  async run(signal: AbortSignal, replay: (sinceMs: number) => Promise<void>): Promise<void> {
    const { clock, events } = this.#options;
    while (!signal.aborted) {
      try {
        await this.#check(signal, replay);
      } catch (error) {
        events.error.emit({ where: 'generation', error });
      }
      await sleep(clock, POLL_MS, signal);
    }
  }

  async #check(signal: AbortSignal, replay: (sinceMs: number) => Promise<void>): Promise<void> {
    const { adapter, cache, clock, events, nextToken, timeoutMs } = this.#options;
    const { generation } = await withTimeout(
      clock,
      cache.open().then(() => adapter.info()),
      timeoutMs,
      () => new Error(`the cache did not say its generation within ${timeoutMs} ms`),
    );
    if (generation === undefined) return;
    const token = nextToken();
    const key = this.#key;
    const now = clock.now();
    const marker = { version: now * 1_000, payload: generation, ttlMs: MARKER_TTL_MS, staleAtMs: 0 };
    const lease = {
      kind: 'lease',
      key,
      token,
      leaseMs: LEASE_MS,
      holeTtlMs: LEASE_MS,
      encoding: 'utf8',
    } as const;
    const reply = await cache.run(lease);
    if (reply.outcome === 'hit' && reply.hit.payload === generation) {
      await cache.run({ kind: 'refresh', key, ...marker });
      return;
    }
    if (reply.outcome !== 'hit' && reply.outcome !== 'granted') return;
    const seenMs = reply.outcome === 'hit' ? reply.hit.version / 1_000 - MARKER_MARGIN_MS : now;
    events.cacheGeneration.emit({ generation });
    const renewing = reply.outcome === 'granted' ? this.#renew(lease) : () => undefined;
    try {
      await replay(Math.min(seenMs, now - WINDOW_MS));
    } finally {
      renewing();
    }
    if (signal.aborted) {
      // It may have stopped half-way: the marker stays as it was, for the next relay to replay.
      if (reply.outcome === 'granted') await cache.run({ kind: 'release', key, token });
      return;
    }
    if (reply.outcome === 'hit') await cache.run({ kind: 'refresh', key, ...marker });
    else await cache.run({ kind: 'fill', key, token, ...marker });
  }

  /** A replay may take longer than the lease stands. Returns what ends the renewals. */
  #renew(lease: LeaseCommand): () => void {
    const { cache, clock } = this.#options;
    let cancel: CancelTimer;
    const again = (): void => {
      // One that goes unanswered leaves two more before the lease runs out.
      cache.run(lease).catch(() => undefined);
      cancel = clock.schedule(again, LEASE_MS / 3);
    };
    cancel = clock.schedule(again, LEASE_MS / 3);
    return () => cancel();
  }
}
