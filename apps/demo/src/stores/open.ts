import { PostgresShopStore } from './postgres.js';
import type { ShopStore, StoreAddress } from './store.js';

/** The store at an address. */
export async function openStore({ kind, url }: StoreAddress): Promise<ShopStore> {
  if (kind === 'postgres') return new PostgresShopStore(url);
  throw new Error(`--store ${kind}: not there yet`);
}
