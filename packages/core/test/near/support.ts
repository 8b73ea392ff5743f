import type { CacheAdapter, ChangeListener, ChangeWatch } from '../../src/contracts/cache.js';
import type { NearOptions } from '../../src/contracts/near.js';
import { CacheUnavailableError } from '../../src/errors.js';
import { openShop, type Product, type ShopOptions, turns } from '../support/shop.js';

/** A cache's watch and probe, as a test has them go. `tell`: what becomes of the watch's messages. */
export function heldWatch(
  tell: (key: string, listener: ChangeListener) => void = (key, listener) => listener.changed(key),
) {
  let listener: ChangeListener | undefined;
  let muted = false;
  let lost = false;
  const adapt = (cache: CacheAdapter): CacheAdapter => ({
    ...cache,
    watchChanges(prefix, given) {
      listener = given;
      const told = { changed: (key: string) => muted || tell(key, given), lost: () => given.lost() };
      return cache.watchChanges?.(prefix, told) as ChangeWatch;
    },
    async probe(prefix) {
      if (lost) throw new CacheUnavailableError('READONLY', { refuses: true });
      return await cache.probe(prefix);
    },
  });
  return {
    adapt,
    /** Of the Lockstep that began to watch last. */
    listener: () => listener as ChangeListener,
    /** The watch tells nothing from now on, though it answers pings. */
    mute: () => {
      muted = true;
    },
    /** The cache refuses invalidations from now on. */
    lose: () => {
      lost = true;
    },
  };
}

/** A shop with near entries, and a sibling of its collection. `tell`: see {@link heldWatch}. */
export function openNear(
  options: ShopOptions = {},
  near: NearOptions = {},
  tell?: (key: string, listener: ChangeListener) => void,
) {
  const { adapt, ...watch } = heldWatch(tell);
  const bounds = near.maxItems === undefined && near.maxBytes === undefined ? { maxItems: 100 } : {};
  const collection = { near: { ...bounds, maxStaleMs: 1_000, ...near }, ...options.collection };
  const shop = openShop({ adapt, ...options, collection });
  const others = shop.lockstep.collection<Product>({ name: 'others', store: shop.store });
  return { ...shop, others, ...watch };
}

/** Puts a row and reads it until it is near. */
export async function warm(
  { clock, products }: Pick<ReturnType<typeof openNear>, 'clock' | 'products'>,
  id: string,
  value: Product,
): Promise<void> {
  await products.put(id, value);
  for (let i = 0; i < 5; i++) {
    await products.get(id);
    await turns();
  }
  clock.advance(0);
  if ((await products.getVersioned(id)).from !== 'near') throw new Error(`"${id}" is not near`);
}
