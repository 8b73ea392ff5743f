import { LRUCache } from 'lru-cache';
import type {
  CacheAdapter,
  CacheInfo,
  CacheProbe,
  ChangeListener,
  ChangeWatch,
  InspectedEntry,
  ScannedEntry,
} from '../../contracts/cache.js';
import type {
  CacheCommand,
  CacheHead,
  CacheHit,
  CacheReply,
  PayloadEncoding,
} from '../../contracts/cache-commands.js';
import type { Clock } from '../../contracts/clock.js';
import { ClosedError, UnsupportedError } from '../../errors.js';
import { type OptionsOf, option, withDefaults } from '../../kit/options.js';
import { believed, type Entry, hitOf } from '../../protocol/entry.js';
import { applyCommand } from '../../protocol/transitions.js';
import { MemoryIndex } from './unflushed-index.js';
import { MemoryWatch } from './watch.js';

export interface MemoryCacheOptions {
  /** Entries kept; the least recently used goes first. @defaultValue 100_000 */
  readonly maxEntries?: number;
  /** Bytes of keys and payloads kept, roughly. @defaultValue 268_435_456 (256 MiB) */
  readonly maxBytes?: number;
  /** Injected by tests. @defaultValue the system's */
  readonly clock?: Clock;
}

export const MEMORY_CACHE = {
  maxEntries: option.integer(100_000, 1, 2 ** 32),
  maxBytes: option.integer(256 * 2 ** 20, 1_024, 2 ** 50),
  clock: option.clock(),
} satisfies OptionsOf<MemoryCacheOptions>;

/** The cache of one process: the protocol's reference implementation behind bounds. */
export interface MemoryCache extends CacheAdapter {
  /** Drops an entry as an eviction would, unless it is unflushed; for tests of what evictions do. */
  evict(key: string): void;
  /** Drops everything, as a flushed or replaced server would. */
  clear(): void;
}

/** Makes a cache in this process's memory. Throws `InvalidOptionError`. */
export function memoryCache(options: MemoryCacheOptions = {}): MemoryCache {
  const { clock, maxBytes, maxEntries } = withDefaults(options, MEMORY_CACHE, 'memoryCache');
  const entries = new LRUCache<string, NonNullable<Entry>>({
    max: maxEntries,
    maxSize: maxBytes,
    dispose: (_, key, reason) => {
      if (reason === 'evict' || reason === 'expire') tell(key);
    },
    sizeCalculation: (entry, key) => 64 + key.length + payloadSize(entry),
  });
  /** Entries that the store does not have yet: outside the bounds above, within those of their buffer. */
  const unflushed = new Map<string, NonNullable<Entry>>();
  const index = new MemoryIndex(clock);
  /** Since when nothing was lost. Nothing was before the first loss: no writer told a cache that was not there. */
  let keptSinceMs = Number.NEGATIVE_INFINITY;
  let closed = false;
  const watches = new Set<MemoryWatch>();

  /** Before a change is acknowledged. */
  function tell(key: string): void {
    for (const watch of watches) watch.tell(key);
  }

  function checkOpen(): void {
    if (closed) throw new ClosedError('the memory cache is closed');
  }

  function live(key: string): Entry {
    const entry = unflushed.get(key) ?? entries.get(key);
    if (entry === undefined || entry.expiresAtMs > clock.now()) return believed(entry, clock.now());
    entries.delete(key);
    tell(key);
    return undefined;
  }

  function apply(command: CacheCommand): CacheReply | Error {
    if (command.kind === 'buffer' && command.durable) {
      return new UnsupportedError('the memory cache has no disk: it takes no durable write');
    }
    const { key } = command;
    const before = unflushed.get(key) ?? entries.get(key);
    const { entry, reply } = applyCommand(before, command, clock.now());
    if (entry === before) return reply;
    unflushed.delete(key);
    entries.delete(key);
    if (entry !== undefined) (isUnflushed(entry) ? unflushed : entries).set(key, entry);
    tell(key);
    return reply;
  }

  return {
    name: 'memory',
    shared: false,
    local: true,
    async read(keys: readonly string[], _encoding: PayloadEncoding): Promise<(CacheHit | undefined)[]> {
      checkOpen();
      return keys.map((key) => hitOf(live(key)));
    },
    async readHeads(keys: readonly string[]): Promise<(CacheHead | undefined)[]> {
      checkOpen();
      return keys.map((key) => headOf(hitOf(live(key))));
    },
    async execute(commands: readonly CacheCommand[]): Promise<(CacheReply | Error)[]> {
      checkOpen();
      return commands.map(apply);
    },
    async info(): Promise<CacheInfo> {
      const description = `memory, at most ${maxEntries} entries`;
      return { evicts: true, evictsPersistent: false, generation: undefined, description };
    },
    async probe(): Promise<ReadonlyMap<string, CacheProbe>> {
      checkOpen();
      return new Map([['', { generation: undefined, nowMs: clock.now() }]]);
    },
    async kept(): Promise<ReadonlyMap<string, number>> {
      checkOpen();
      return new Map([['', clock.now() - keptSinceMs]]);
    },
    async *scan(prefix: string): AsyncGenerator<ScannedEntry> {
      for (const key of [...entries.keys(), ...unflushed.keys()]) {
        if (!key.startsWith(prefix)) continue;
        const entry = live(key);
        if (entry?.kind === 'value') {
          const { payload, version } = entry;
          yield { key, version, state: 'value', payload, ...(entry.unflushed ? { unflushed: true } : {}) };
        } else if (entry?.kind === 'hole') {
          yield { key, version: entry.floor, state: 'hole', payload: null };
        }
      }
    },
    async inspect(key: string): Promise<InspectedEntry | undefined> {
      checkOpen();
      const entry = live(key);
      if (entry === undefined || entry.kind === 'foreign') return undefined;
      const leftMs = entry.expiresAtMs - clock.now();
      const expiresInMs = Number.isFinite(leftMs) ? leftMs : undefined;
      if (entry.kind === 'hole') {
        const { floor, knownAbsent } = entry;
        return { key, version: floor, state: 'hole', payload: null, expiresInMs, staleAtMs: 0, knownAbsent };
      }
      const { payload, staleAtMs, unflushed: isBuffered, version } = entry;
      const value = {
        key,
        version,
        state: 'value',
        payload,
        expiresInMs,
        staleAtMs,
        knownAbsent: false,
      } as const;
      return isBuffered ? { ...value, unflushed: true } : value;
    },
    unflushed: index,
    watchChanges(_prefix: string, listener: ChangeListener): ChangeWatch {
      const watch = new MemoryWatch(listener, () => watches.delete(watch));
      watches.add(watch);
      return watch;
    },
    async close(): Promise<void> {
      closed = true;
      this.clear();
    },
    evict(key: string): void {
      if (entries.delete(key)) tell(key);
    },
    clear(): void {
      entries.clear();
      unflushed.clear();
      index.clear();
      keptSinceMs = clock.now();
      for (const watch of watches) watch.lost();
    },
  };
}

function headOf(hit: CacheHit | undefined): CacheHead | undefined {
  return hit && { version: hit.version, staleAtMs: hit.staleAtMs, absent: hit.payload === null };
}

function isUnflushed(entry: NonNullable<Entry>): boolean {
  return entry.kind === 'value' && entry.unflushed;
}

function payloadSize(entry: NonNullable<Entry>): number {
  if (entry.kind === 'foreign') return 0;
  if (entry.kind === 'hole') return 64 * (1 + entry.intents.length);
  return entry.payload === null ? 0 : entry.payload.length;
}
