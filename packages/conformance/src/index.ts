export { cacheConformance } from './cache/kit.js';
export type { CacheConformanceOptions, CacheHook, CacheUnderTest } from './cache/under-test.js';
export type { KitOptions, Runner } from './kit/runner.js';
export { queueConformance } from './queue/kit.js';
export type { QueueConformanceOptions, QueueHook, QueueUnderTest } from './queue/under-test.js';
export { storeConformance } from './store/kit.js';
export type {
  StoreConformanceOptions,
  StoreHook,
  StoreUnderTest,
  TestedCapability,
} from './store/under-test.js';
