import { randomUUID } from 'node:crypto';
import { type MemoryTx, memoryDatabase, memoryStore } from '@lockstep/core/memory';
import { describe, test } from 'vitest';
import { storeConformance } from '../src/index.js';

interface Product {
  readonly name: string;
  readonly code?: string;
  readonly stock: number;
}

function refuseNegative(product: Product): void {
  if (product.stock < 0) throw new Error('stock must not be negative');
}

storeConformance<Product, string>({
  describe,
  test,
  name: 'the memory store conforms',
  hooks: ['second', 'refusedValue', 'newValue', 'badIds', 'foreignWrite', 'writeInTransaction', 'declared'],
  create() {
    const database = memoryDatabase();
    const newRow = (value: Product): { id: string; value: Product } => ({ id: randomUUID(), value });
    const unique = ['code'] as const;
    const options = { name: 'products', database, unique, validate: refuseNegative };
    const store = memoryStore<Product>({ ...options, newRow });
    return {
      store,
      second: memoryStore<Product>(options),
      id: (n) => `p${n}`,
      value: (id, n) => ({ name: `product ${id}`, code: id, stock: n }),
      counter: 'stock',
      newValue: (n) => ({ name: `new product ${n}`, stock: n }),
      refusedValue: (id) => ({ name: id, stock: -1 }),
      declared: { unique: [['code']], tags: [['name', 'stock'], ['stock']] },
      badIds: ['', 5, null, undefined, {}, 'x'.repeat(1025), '\ud800'],
      foreignWrite: (id, value) => store.foreignWrite(id, value),
      async writeInTransaction(client, id, value) {
        const tx = client as MemoryTx;
        if (value === null) await tx.delete('products', id);
        else await tx.set('products', id, value);
      },
      dispose: () => database.feed.close(),
    };
  },
});
