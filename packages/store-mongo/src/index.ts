// For applications.

export type { RepairReport } from './install/repair.js';
export type { MongoCollectionOptions, MongoFeedOptions, MongoStoreOptions } from './options.js';
export type { MongoCollection } from './rows/collection.js';
// For tools.
export { decodeKey, encodeKey } from './rows/key.js';
export { bsonSerializer } from './rows/serializer.js';
export { type AttachOptions, type IdOf, type MongoStore, mongoStore } from './store.js';
