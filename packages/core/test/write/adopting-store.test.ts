import { describe, expect, test } from 'vitest';
import type { StoreAdapter, StoreOutcome, StoreRow } from '../../src/contracts/store.js';
import { CHAIR, LAMP, openShop, type Product } from '../support/shop.js';

/**
 * A store whose rows other programs lower: the next write's version, and the row's, are as far below what the
 * cache has, until the feed adopts them.
 */
function lowered(
  rows: StoreAdapter<Product, string>,
  by: () => number,
  adopts: boolean,
): StoreAdapter<Product, string> {
  const lower = <T extends { readonly version: number }>(row: T): T => ({
    ...row,
    version: row.version - by(),
  });
  const wrapped: StoreAdapter<Product, string> = Object.create(rows);
  return Object.defineProperties(wrapped, {
    capabilities: { value: { ...rows.capabilities, adopts } },
    write: {
      value: async (...args: Parameters<typeof rows.write>) => {
        const outcomes: readonly StoreOutcome<Product>[] = await rows.write(...args);
        return outcomes.map((outcome) => (outcome.kind === 'written' ? lower(outcome) : outcome));
      },
    },
    read: {
      value: async (...args: Parameters<typeof rows.read>) => {
        const found: readonly (StoreRow<Product> | undefined)[] = await rows.read(...args);
        return found.map((row) => (row === undefined ? undefined : lower(row)));
      },
    },
  });
}

function openLowered(adopts = true) {
  const shop = openShop();
  let by = (): number => 0;
  const store = lowered(shop.rows, () => by(), adopts);
  const products = shop.lockstep.collection<Product>({ name: 'lowered', store });
  return {
    shop,
    products,
    lower(us: () => number) {
      by = us;
    },
  };
}

describe('a write whose row another program had lowered below what the cache holds', () => {
  test.each([
    ['put', (products: ReturnType<typeof openLowered>['products']) => products.put('a', CHAIR)],
    ['delete', (products: ReturnType<typeof openLowered>['products']) => products.delete('a')],
  ])('%s is not acknowledged as one that every reader sees (G2): the feed has it', async (_, write) => {
    const { products, lower, shop } = openLowered();
    const first = await products.put('a', LAMP);
    expect(first.cache).toBe('updated');
    lower(() => 1_000_000);
    const second = await write(products);
    expect(second.version).toBeLessThan(first.version);
    expect(second.cache).toBe('deferred');
    expect((await shop.rows.feed.status(['products'])).pending).toBeGreaterThan(0);
  });

  test('one that another write has passed is: the cache holds that one', async () => {
    const { products, lower } = openLowered();
    await products.put('a', LAMP);
    let reads = 0;
    // The row is above it when the store is asked, after the cache has refused it.
    lower(() => (reads++ === 0 ? 1_000_000 : 0));
    expect((await products.put('a', CHAIR)).cache).toBe('updated');
    expect(reads).toBe(2);
  });

  test('a store whose rows can’t be lowered is not asked', async () => {
    const { products, lower } = openLowered(false);
    await products.put('a', LAMP);
    lower(() => 1_000_000);
    expect((await products.put('a', CHAIR)).cache).toBe('updated');
  });
});
