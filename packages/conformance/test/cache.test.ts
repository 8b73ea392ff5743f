import { memoryCache } from '@lockstep/core/memory';
import { describe, test } from 'vitest';
import { cacheConformance } from '../src/index.js';

cacheConformance({
  describe,
  test,
  name: 'the memory cache conforms',
  hooks: ['evict'],
  buffer: true,
  changes: true,
  propertyRuns: 500,
  create() {
    const cache = memoryCache();
    return { cache, evict: (key) => cache.evict(key) };
  },
});
