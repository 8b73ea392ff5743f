import { MongoShopStore } from './mongo.js';
import { PostgresShopStore } from './postgres.js';
import type { ShopStore, StoreAddress } from './store.js';

/** The store at an address. */
export function openStore({ kind, url }: StoreAddress): ShopStore {
  return kind === 'postgres' ? new PostgresShopStore(url) : new MongoShopStore(url);
}
