import { createHash } from 'node:crypto';
import type { CacheClient } from '../cache/client.js';
import type { Clock } from '../contracts/clock.js';
import type { ConsumerRecord } from '../contracts/registry.js';
import { keyPrefix } from '../protocol/key.js';
import type { Consumer } from './consumer.js';

export interface PositionsOptions {
  readonly consumer: Consumer;
  readonly cache: CacheClient;
  readonly clock: Clock;
  readonly nextToken: () => string;
}

/** A position gets into the cache so long after it was true, in case the cache is replaced in between. */
const MARGIN_MS = 30_000;
const TTL_MS = 7 * 24 * 3_600_000;
const LEASE_MS = 10_000;
/** One primary of several may restart from an old snapshot: each is to hold some of a position's copies. */
const COPIES_PER_PRIMARY = 8;
const MAX_COPIES = 256;

interface Kept {
  readonly atMs: number;
  readonly position: string;
}

/**
 * What the cache itself says of how far it is in step, source by source. A restart from a snapshot, or a
 * promotion of a replica, brings back the position that belongs to what came back with it.
 */
export class Positions {
  readonly #options: PositionsOptions;
  /** By source: positions that are too fresh to be written. */
  readonly #kept = new Map<string, { readonly epoch: number; readonly positions: Kept[] }>();

  constructor(options: PositionsOptions) {
    this.#options = options;
  }

  /** Notes where sources are now, and writes where they were a while ago. */
  async keep(records: readonly ConsumerRecord[], primaries: number): Promise<void> {
    const nowMs = this.#options.clock.monotonic();
    const due = new Map<string, string>();
    for (const { source, epoch, position } of records) {
      if (position === undefined) continue;
      let kept = this.#kept.get(source);
      if (kept?.epoch !== epoch) {
        kept = { epoch, positions: [] };
        this.#kept.set(source, kept);
      }
      const { positions } = kept;
      positions.push({ atMs: nowMs, position });
      while (positions[1] !== undefined && positions[1].atMs <= nowMs - MARGIN_MS) positions.shift();
      const oldest = positions[0];
      if (oldest !== undefined && oldest.atMs <= nowMs - MARGIN_MS) due.set(source, oldest.position);
    }
    await this.#write(due, primaries);
  }

  /** Writes where sources were when their epoch's replay began. */
  async start(records: readonly ConsumerRecord[], primaries: number): Promise<void> {
    const due = new Map<string, string>();
    for (const { source, position } of records) if (position !== undefined) due.set(source, position);
    await this.#write(due, primaries);
  }

  async #write(positions: ReadonlyMap<string, string>, primaries: number): Promise<void> {
    const { cache, nextToken } = this.#options;
    const life = { version: 1, ttlMs: TTL_MS, staleAtMs: 0 };
    const writing = [...positions].flatMap(([source, payload]) =>
      this.#keys(source, primaries).map(async (key) => {
        const { outcome } = await cache.run({ kind: 'refresh', key, payload, ...life });
        if (outcome === 'stored') return;
        const token = nextToken();
        const times = { leaseMs: LEASE_MS, holeTtlMs: LEASE_MS };
        const lease = await cache.run({ kind: 'lease', key, token, encoding: 'utf8', ...times });
        if (lease.outcome === 'granted') await cache.run({ kind: 'fill', key, token, payload, ...life });
      }),
    );
    await Promise.all(writing);
  }

  /** The positions that the cache holds; none of a source that lacks one of its copies. */
  async read(sources: readonly string[], primaries: number): Promise<Map<string, string[]>> {
    const { cache } = this.#options;
    const reading = sources.map(async (source): Promise<[string, string[]]> => {
      const hits = await Promise.all(this.#keys(source, primaries).map((key) => cache.read(key, 'utf8')));
      const found = hits.flatMap((hit) => (typeof hit?.payload === 'string' ? [hit.payload] : []));
      return [source, found.length === hits.length ? [...new Set(found)] : []];
    });
    return new Map(await Promise.all(reading));
  }

  #keys(source: string, primaries: number): string[] {
    const { consumer } = this.#options;
    const names = JSON.stringify([consumer.feed.name, source]);
    const digest = createHash('sha256').update(names).digest('base64url').slice(0, 16);
    // Collections have names, so an empty one can't collide.
    const start = `${keyPrefix(consumer.consumer, '')}position:${digest}`;
    const copies = primaries <= 1 ? 1 : Math.min(MAX_COPIES, primaries * COPIES_PER_PRIMARY);
    return Array.from({ length: copies }, (_, copy) => `${start}:${copy}`);
  }
}
