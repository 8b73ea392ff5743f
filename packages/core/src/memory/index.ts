import '../node-version.js';

export { type MemoryCache, type MemoryCacheOptions, memoryCache } from './cache/cache.js';
export { type MemoryQueueOptions, memoryQueue } from './queue/queue.js';
export { type MemoryDatabase, type MemoryDatabaseOptions, memoryDatabase } from './store/database.js';
export { type MemoryRegistryOptions, memoryRegistry } from './store/registry.js';
export { type MemoryStore, type MemoryStoreOptions, memoryStore } from './store/store.js';
export type { MemoryTx } from './store/transaction.js';
