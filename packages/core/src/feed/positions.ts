import { createHash } from 'node:crypto';
import type { ConsumerRecord } from '../contracts/registry.js';
import { enginePrefix } from '../protocol/key.js';
import type { EngineContext } from '../runtime/context.js';
import type { Consumer } from './consumer.js';

export interface PositionsOptions extends Pick<EngineContext, 'cache' | 'clock' | 'nextToken'> {
  readonly consumer: Consumer;
}

/** A position gets into the cache so long after it was true, in case the cache is replaced in between. */
const MARGIN_MS = 30_000;
const TTL_MS = 7 * 24 * 3_600_000;
const LEASE_MS = 10_000;
/** One primary of several may restart from an old snapshot: each is to hold some of a position's copies. */
const COPIES_PER_PRIMARY = 8;
const MAX_COPIES = 256;

/**
 * How far the cache is in step, source by source, as the cache itself holds it. A restart from a snapshot, or a
 * promotion of a replica, brings back the position that belongs to what came back with it.
 */
export class Positions {
  readonly #options: PositionsOptions;
  /** By source: a position that is too fresh to be written. */
  readonly #kept = new Map<string, { readonly atMs: number; readonly record: ConsumerRecord }>();

  constructor(options: PositionsOptions) {
    this.#options = options;
  }

  /** Notes where sources are now, every margin's time, and writes what was noted before. */
  async keep(records: readonly ConsumerRecord[]): Promise<void> {
    const nowMs = this.#options.clock.monotonic();
    const due: ConsumerRecord[] = [];
    for (const record of records) {
      const { epoch, position, source } = record;
      const kept = this.#kept.get(source);
      const same = kept?.record.epoch === epoch;
      if (position === undefined || (same && nowMs - kept.atMs < MARGIN_MS)) continue;
      if (same) due.push(kept.record);
      this.#kept.set(source, { atMs: nowMs, record });
    }
    await this.start(due);
  }

  /** Writes where sources were when these records were read. */
  async start(records: readonly ConsumerRecord[]): Promise<void> {
    await Promise.all(
      records.flatMap(({ position, source }) =>
        position === undefined ? [] : this.#keys(source).map((key) => this.#write(key, position)),
      ),
    );
  }

  async #write(key: string, payload: string): Promise<void> {
    const { cache, nextToken } = this.#options;
    const life = { version: 1, ttlMs: TTL_MS, staleAtMs: 0 };
    const { outcome } = await cache.run({ kind: 'refresh', key, payload, ...life });
    if (outcome === 'stored') return;
    const token = nextToken();
    const times = { leaseMs: LEASE_MS, holeTtlMs: LEASE_MS };
    const lease = await cache.run({ kind: 'lease', key, token, encoding: 'utf8', ...times });
    if (lease.outcome === 'granted') await cache.run({ kind: 'fill', key, token, payload, ...life });
  }

  /** The positions that the cache holds; none of a source that lacks one of its copies. */
  async read(sources: readonly string[]): Promise<Map<string, string[]>> {
    const { cache } = this.#options;
    const reading = sources.map(async (source): Promise<[string, string[]]> => {
      const hits = await Promise.all(this.#keys(source).map((key) => cache.read(key, 'utf8')));
      const found = hits.flatMap((hit) => (typeof hit?.payload === 'string' ? [hit.payload] : []));
      return [source, found.length === hits.length ? [...new Set(found)] : []];
    });
    return new Map(await Promise.all(reading));
  }

  #keys(source: string): string[] {
    const { consumer, feed, identity } = this.#options.consumer;
    const names = JSON.stringify([feed.name, source]);
    const digest = createHash('sha256').update(names).digest('base64url').slice(0, 16);
    const start = `${enginePrefix(consumer)}position:${digest}`;
    const copies =
      identity.primaries <= 1 ? 1 : Math.min(MAX_COPIES, identity.primaries * COPIES_PER_PRIMARY);
    return Array.from({ length: copies }, (_, copy) => `${start}:${copy}`);
  }
}
