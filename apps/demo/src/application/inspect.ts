import type { CachedProduct, ShopEngine } from '../engines/engine.js';
import type { PlainStore, ProductRow } from '../stores/store.js';

/** A product in the store beside its entry in the cache. */
export interface Inspection {
  readonly id: number;
  readonly row: ProductRow | null;
  /** `null`: the key is empty. */
  readonly entry: CachedProduct | null;
  /** Why the cache could not be asked. */
  readonly cacheError: string | null;
}

export async function inspect(engine: ShopEngine, store: PlainStore, id: number): Promise<Inspection> {
  const [row] = await store.read([id]);
  try {
    const entry = await engine.entry(id);
    return { id, row: row ?? null, entry: entry ?? null, cacheError: null };
  } catch (error) {
    return {
      id,
      row: row ?? null,
      entry: null,
      cacheError: error instanceof Error ? error.message : String(error),
    };
  }
}
