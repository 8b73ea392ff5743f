import type { CacheHit } from '../../src/contracts/cache-commands.js';
import { StoreContractError, StoreUnavailableError } from '../../src/errors.js';
import { applyCommand } from '../../src/protocol/transitions.js';
import type { StaleWorldOptions } from './stale-world.js';
import type { Row } from './world.js';

/** A rule of `staleIfErrorMs` taken out. */
export interface StaleControl {
  readonly name: string;
  readonly world: Omit<StaleWorldOptions, 'seed'>;
  /** What must be found. */
  readonly sees: RegExp;
}

const isExpired = ({ staleAtMs }: Pick<CacheHit, 'staleAtMs'>, nowMs: number): boolean =>
  staleAtMs > 0 && staleAtMs <= nowMs;

export const STALE_CONTROLS: readonly StaleControl[] = [
  {
    name: 'what expired is served before the store is asked',
    sees: /the store had answered/,
    world: {
      async read({ cache, rows }, key, nowMs) {
        // An answer that never comes is waited for by the engine alone.
        const reading = rows.getVersioned(key);
        const [hit] = await Promise.race([cache.read([`wtc:rows:${key}`], 'utf8'), reading.then(() => [])]);
        if (hit === undefined || hit instanceof Error || !isExpired(hit, nowMs)) return await reading;
        const value = hit.payload === null ? null : (JSON.parse(String(hit.payload)) as Row);
        reading.catch(() => undefined);
        return { value, version: hit.version, from: 'stale' };
      },
    },
  },
  {
    name: 'a store that answers with an error counts as away',
    sees: /the store had answered/,
    world: {
      storeOf: (store) => ({
        ...store,
        async read(keys, call) {
          try {
            return await store.read(keys, call);
          } catch (cause) {
            if (!(cause instanceof StoreContractError)) throw cause;
            throw new StoreUnavailableError('away', 'not-committed', { cause });
          }
        },
      }),
    },
  },
  {
    name: 'an invalidation leaves what has expired',
    sees: /after the cache was told/,
    world: {
      apply: (entry, command, nowMs) =>
        command.kind === 'invalidate' && entry?.kind === 'value' && isExpired(entry, nowMs)
          ? { entry, reply: { kind: 'invalidate', outcome: 'floored' } }
          : applyCommand(entry, command, nowMs),
    },
  },
  {
    name: 'what expired is served as it was found before the store was asked',
    sees: /did not hold any more/,
    world: {
      cacheOf(cache, clock) {
        const found = new Map<string, CacheHit>();
        return {
          ...cache,
          async read(keys, encoding) {
            const hits = await cache.read(keys, encoding);
            return hits.map((hit, i) => {
              const key = keys[i] as string;
              if (hit instanceof Error) return hit;
              if (hit === undefined) return found.get(key);
              if (isExpired(hit, clock.now())) found.set(key, hit);
              else found.delete(key);
              return hit;
            });
          },
        };
      },
    },
  },
  {
    name: 'what expired does not say so',
    sees: /which had expired/,
    world: {
      cacheOf: (cache) => ({
        ...cache,
        async read(keys, encoding) {
          const hits = await cache.read(keys, encoding);
          return hits.map((hit) =>
            hit === undefined || hit instanceof Error ? hit : { ...hit, staleAtMs: 0 },
          );
        },
      }),
    },
  },
];
