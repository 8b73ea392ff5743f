// For applications.
export type { MongoCollection } from './collection.js';
// For tools.
export { decodeKey, encodeKey } from './key.js';
export type { MongoCollectionOptions, MongoFeedOptions, MongoStoreOptions } from './options.js';
export type { RepairReport } from './repair.js';
export { bsonSerializer } from './serializer.js';
export { type AttachOptions, type IdOf, type MongoStore, mongoStore } from './store.js';
