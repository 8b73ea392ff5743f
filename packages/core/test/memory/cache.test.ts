import { describe, expect, test } from 'vitest';
import type { CacheCommand } from '../../src/contracts/cache-commands.js';
import { InvalidOptionError } from '../../src/errors.js';
import { manualClock } from '../../src/faults/index.js';
import { type MemoryCache, type MemoryCacheOptions, memoryCache } from '../../src/memory/index.js';

const LONG_MS = 60_000;

/** Makes the key a value by way of a reservation. */
async function set(cache: MemoryCache, key: string, payload: string, ttlMs = LONG_MS): Promise<void> {
  const commands: CacheCommand[] = [
    { kind: 'reserve', key, token: 't', holeTtlMs: LONG_MS },
    { kind: 'put', key, token: 't', version: 10, payload, ttlMs, staleAtMs: 0, holeTtlMs: LONG_MS },
  ];
  await cache.execute(commands);
}

async function held(cache: MemoryCache, keys: readonly string[]): Promise<boolean[]> {
  return (await cache.read(keys, 'utf8')).map((hit) => hit !== undefined);
}

describe('the memory cache', () => {
  test('drops the least recently used entry beyond maxEntries', async () => {
    const cache = memoryCache({ maxEntries: 2 });
    await set(cache, 'a', 'x');
    await set(cache, 'b', 'x');
    await cache.read(['a'], 'utf8');
    await set(cache, 'c', 'x');
    expect(await held(cache, ['a', 'b', 'c'])).toEqual([true, false, true]);
  });

  test('drops entries beyond maxBytes, and keeps none that is larger', async () => {
    const cache = memoryCache({ maxBytes: 10_000 });
    await set(cache, 'a', 'x'.repeat(6_000));
    await set(cache, 'b', 'x'.repeat(6_000));
    expect(await held(cache, ['a', 'b'])).toEqual([false, true]);
    await set(cache, 'b', 'x'.repeat(20_000));
    expect(await held(cache, ['b'])).toEqual([false]);
  });

  test('expires by the injected clock', async () => {
    const clock = manualClock();
    const cache = memoryCache({ clock });
    await set(cache, 'a', 'x', 500);
    clock.advance(499);
    expect(await held(cache, ['a'])).toEqual([true]);
    clock.advance(1);
    expect(await held(cache, ['a'])).toEqual([false]);
  });

  test('a hole outlives its intent by its own time to live: who comes after it is told that there was one', async () => {
    const clock = manualClock();
    const cache = memoryCache({ clock });
    const lease = { kind: 'lease', key: 'a', leaseMs: 1, holeTtlMs: 1, encoding: 'utf8' } as const;
    await cache.execute([{ kind: 'intend', key: 'a', token: 't', deadlineMs: 1_000, holeTtlMs: 1_000 }]);
    clock.advance(1_999);
    expect(await cache.execute([{ ...lease, token: 'b' }])).toMatchObject([{ behind: true }]);
    clock.advance(1_000);
    expect(await cache.execute([{ ...lease, token: 'c' }])).toEqual([
      { kind: 'lease', outcome: 'granted', floor: 0 },
    ]);
  });

  test('says that it evicts', async () => {
    expect(await memoryCache({ maxEntries: 5 }).info()).toMatchObject({ evicts: true });
  });

  test.each([
    [{ maxEntries: 0 }, 'memoryCache.maxEntries'],
    [{ maxBytes: 5 }, 'memoryCache.maxBytes'],
    [{ max: 5 }, 'memoryCache.max'],
  ])('%o is refused, naming %s', (options, option) => {
    expect(() => memoryCache(options as MemoryCacheOptions)).toThrow(InvalidOptionError);
    expect(() => memoryCache(options as MemoryCacheOptions)).toThrow(option);
  });
});
