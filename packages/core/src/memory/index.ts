export { type MemoryCache, type MemoryCacheOptions, memoryCache } from './cache.js';
