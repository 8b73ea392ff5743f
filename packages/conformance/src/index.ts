export { cacheConformance } from './cache/kit.js';
export type { CacheConformanceOptions, CacheHook, CacheUnderTest } from './cache/under-test.js';
export type { KitOptions, Runner } from './kit/runner.js';
