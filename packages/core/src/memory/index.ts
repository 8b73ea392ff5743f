import '../node-version.js';

export { type MemoryCache, type MemoryCacheOptions, memoryCache } from './cache.js';
export { type MemoryQueueOptions, memoryQueue } from './queue.js';
export { type MemoryRegistryOptions, memoryRegistry } from './registry.js';
export { type MemoryStore, type MemoryStoreOptions, memoryStore } from './store.js';
export { type MemoryDatabase, type MemoryDatabaseOptions, memoryDatabase } from './store-database.js';
export type { MemoryTx } from './store-transaction.js';
