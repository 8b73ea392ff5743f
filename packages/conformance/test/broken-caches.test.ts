import { memoryCache } from '@lockstep/core/memory';
import { describe, expect, test } from 'vitest';
import { cacheConformance } from '../src/index.js';
import { BROKEN_CACHES, soundCache } from './support/broken-caches.js';
import { collect, HASTE } from './support/collect.js';

describe('the cache kit fails a cache in which', () => {
  test.concurrent.each(BROKEN_CACHES)('$flaw', { timeout: 60_000 }, async ({ noticedBy, create }) => {
    const { failures } = await collect((runner) =>
      cacheConformance({
        ...runner,
        ...HASTE,
        buffer: true,
        changes: true,
        hooks: ['evict'],
        propertyRuns: 30,
        create,
      }),
    );
    const names = [...failures.keys()];
    for (const start of noticedBy) {
      expect(names, `failing cases must include "${start}…"`).toContainEqual(expect.stringContaining(start));
    }
  });

  test('a hook is there that options.hooks does not name, or the other way round', {
    timeout: 60_000,
  }, async () => {
    const create = () => ({ cache: memoryCache(), evict: () => {} });
    const unnamed = await collect((runner) =>
      cacheConformance({ ...runner, ...HASTE, buffer: true, changes: true, propertyRuns: 1, create }),
    );
    expect([...unnamed.failures.values()].join()).toContain('gives the hook evict');
    const missing = await collect((runner) =>
      cacheConformance({
        ...runner,
        ...HASTE,
        changes: true,
        hooks: ['evict', 'cut'],
        propertyRuns: 1,
        create,
      }),
    );
    expect([...missing.failures.values()].join()).toContain('names cut');
  });

  test('nothing at all is broken: every case passes', async () => {
    const { names, failures } = await collect((runner) =>
      cacheConformance({
        ...runner,
        buffer: true,
        changes: true,
        hooks: ['evict'],
        propertyRuns: 30,
        create: soundCache,
      }),
    );
    expect(failures).toEqual(new Map());
    expect(names.length).toBeGreaterThan(90);
  });
});
