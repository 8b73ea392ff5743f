import type { Collection, NumericField } from '@lockstep/core';
import { PRODUCTS, type Product, product } from './product.js';
import type { Side } from './sides.js';

/** How long either side's cache keeps a product, in seconds. */
export const TTL_S = 3_600;

/** Lockstep as a side: `row` is a product as its store has it. */
export function oursOn<Row extends { readonly stock: number }>(
  products: Collection<Row, string>,
  row: (value: Product) => Row,
): Side {
  return {
    put: (value) => products.put(value.id, row(value)),
    increment: (id, by) => products.increment(id, 'stock' as NumericField<Row>, by),
    stock: async (id) => (await products.get(id, { fresh: true }))?.stock ?? Number.NaN,
  };
}

/** Every product through both sides: the benchmark writes to rows that are there. */
export async function fill(sides: readonly Side[]): Promise<void> {
  for (const side of sides) {
    for (let from = 0; from < PRODUCTS; from += 500) {
      await Promise.all(Array.from({ length: 500 }, (_, i) => side.put(product(from + i))));
    }
  }
}
