import { expect, test } from 'vitest';
import type { RowShape } from '../../src/contracts/rows.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { callbackStore } from '../../src/stores/callback-store.js';
import { CHAIR, LAMP, type Product, turns } from '../support/shop.js';
import { openNear, warm } from './support.js';

test('a buffered write is seen at once by its own process, and by others with the message', async () => {
  const shop = openNear({ collection: { strategy: 'write-behind' } });
  await warm(shop, 'a', LAMP);
  const { products } = shop.join();
  for (let i = 0; i < 5; i++) {
    await products.get('a');
    await turns();
  }
  shop.mute();
  expect(await products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'near' });
  expect(await shop.products.put('a', CHAIR)).toMatchObject({ store: 'buffered' });
  expect(await shop.products.get('a')).toEqual(CHAIR);
  const own = shop.listener();
  own.changed('wtc:products:a');
  expect(await products.get('a')).toEqual(CHAIR);
});

test('signed entries, and rows of stores without versions', async () => {
  const keys = [{ id: 'one', secret: 'x'.repeat(32) }];
  const signed = openNear({ lockstep: { integrity: { keys } } });
  await warm(signed, 'a', LAMP);
  await signed.join().products.put('a', CHAIR);
  expect(await signed.products.get('a')).toEqual(CHAIR);

  const rows = new Map<string, Product>([['a', LAMP]]);
  const { clock, memory } = openNear();
  const store = callbackStore<Product>({
    name: 'remote',
    read: async (id) => rows.get(id),
    write: async (id, value) => void (value === null ? rows.delete(id) : rows.set(id, value)),
  });
  const open = () =>
    createLockstep({ cache: memory, clock }).collection({ name: 'remote', store, near: { maxItems: 10 } });
  const [one, two] = [open(), open()];
  const isNear = async (): Promise<boolean> => (await one.getVersioned('a')).from === 'near';
  for (let i = 0; i < 10 && !(await isNear()); i++) await turns();
  expect(await isNear()).toBe(true);
  await two.put('a', CHAIR);
  expect(await one.get('a')).toEqual(CHAIR);
});

test('rows of another shape are not served, nor while the shape is not known', async () => {
  const [first, second]: RowShape[] = [1, 2].map((order) => ({
    order,
    properties: new Map([['name', 'text'], ...(order === 2 ? [['stock', 'int'] as const] : [])]),
  }));
  let shape: RowShape | undefined = first;
  const shop = openNear();
  const store = { ...shop.store, shape: { current: () => shape, renew: async () => undefined } };
  const shaped = shop.lockstep.collection<Product>({ name: 'shaped', store, near: { maxItems: 10 } });
  const isNear = async (): Promise<boolean> => (await shaped.getVersioned('a')).from === 'near';
  await shop.products.put('a', LAMP);
  for (let i = 0; i < 10 && !(await isNear()); i++) await turns();
  expect(await isNear()).toBe(true);
  shape = undefined;
  expect(await isNear()).toBe(false);
  shape = second;
  expect(await isNear()).toBe(false);
});

test('values that can’t be copied are left to the cache', async () => {
  class Hidden {
    readonly #name: string;
    constructor(name: string) {
      this.#name = name;
    }
    get name(): string {
      return this.#name;
    }
  }
  const serializer = {
    name: 'hidden',
    encoding: 'utf8',
    serialize: (value: unknown) => JSON.stringify({ name: (value as Product).name, stock: 1 }),
    deserialize: (payload: unknown) => new Hidden((JSON.parse(String(payload)) as Product).name),
  } as const;
  const shop = openNear({ collection: { serializer } });
  await shop.products.put('a', LAMP);
  for (let i = 0; i < 5; i++) {
    expect((await shop.products.get('a'))?.name).toBe(LAMP.name);
    await turns();
  }
  expect(shop.lockstep.status().near).toMatchObject([{ items: 0, hits: 0, live: true }]);
});
