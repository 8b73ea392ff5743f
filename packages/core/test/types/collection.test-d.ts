import * as v from 'valibot';
import { expectTypeOf } from 'vitest';
import { z } from 'zod';
import type {
  CacheOutcome,
  Collection,
  RowOutcome,
  TransactionResult,
  Versioned,
  WriteResult,
} from '../../src/contracts/api.js';
import type { LockstepEventMap } from '../../src/contracts/events.js';
import type { Transaction } from '../../src/contracts/options.js';
import type { Version } from '../../src/contracts/version.js';
import { type MemoryTx, memoryCache, memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { callbackStore } from '../../src/stores/callback-store.js';

interface Product {
  readonly name: string;
  readonly stock: number;
}

/** Never called: what counts is what the compiler makes of it. */
export async function types(): Promise<void> {
  const lockstep = createLockstep({ cache: memoryCache() });

  // The store's binding gives the entity, the id and the transaction's handle.
  const products = lockstep.collection({
    name: 'products',
    store: memoryStore<Product>({ name: 'products' }),
  });
  expectTypeOf(products).toEqualTypeOf<Collection<Product, string, MemoryTx>>();
  expectTypeOf(products.get('a')).resolves.toEqualTypeOf<Product | undefined>();
  expectTypeOf(products.getMany(['a'])).resolves.toEqualTypeOf<(Product | undefined)[]>();
  expectTypeOf(products.getVersioned('a')).resolves.toEqualTypeOf<Versioned<Product>>();
  // Lookups go by the indexes that the collection was declared with.
  const users = lockstep.collection({
    name: 'users',
    store: memoryStore<{ readonly email: string | null; readonly tenant: number; readonly slug: string }>({
      name: 'users',
    }),
    unique: ['email', ['tenant', 'slug']],
  });
  expectTypeOf(users.getBy('email', 'a@b')).resolves.toEqualTypeOf<
    { readonly email: string | null; readonly tenant: number; readonly slug: string } | undefined
  >();
  users.getBy(['tenant', 'slug'], { tenant: 1, slug: 'a' });
  users.getManyBy('email', ['a@b']);
  // @ts-expect-error not declared
  users.getBy('slug', 'a');
  // @ts-expect-error a value of another type
  users.getBy('email', 1);
  // @ts-expect-error several rows may have none
  users.getBy('email', null);
  // @ts-expect-error a part of the index
  users.getBy(['tenant', 'slug'], { tenant: 1 });
  // @ts-expect-error no property
  lockstep.collection({ name: 'x', store: memoryStore<Product>({ name: 'x' }), unique: ['colour'] });
  lockstep.collection({ name: 'y', store: memoryStore<Product>({ name: 'y' }), tags: ['name', ['name']] });
  // @ts-expect-error no property
  lockstep.collection({ name: 'x', store: memoryStore<Product>({ name: 'x' }), tags: [['name', 'colour']] });
  const composite = memoryStore<Product, readonly [number, string]>({
    name: 'c',
    keyOf: (id) => id.join('/'),
  });
  const byPair = lockstep.collection({ name: 'pairs', store: composite });
  expectTypeOf(byPair.get).parameter(0).toEqualTypeOf<readonly [number, string]>();
  expectTypeOf(byPair.invalidate([1, 'a'])).resolves.toEqualTypeOf<CacheOutcome>();
  byPair.invalidateMany(new Set([[1, 'a']] as const));
  // @ts-expect-error one id: `invalidate`
  byPair.invalidateMany([1, 'a']);
  const notes = callbackStore({ read: async () => ({ text: 'x' }), write: async () => undefined });
  expectTypeOf(lockstep.collection({ name: 'notes', store: notes }).get('a')).resolves.toEqualTypeOf<
    { text: string } | undefined
  >();

  // A Standard Schema gives the entity, too, and has to agree with a store that has a type of its own.
  const zod = z.object({ name: z.string(), stock: z.number() });
  const valibot = v.object({ name: v.string(), stock: v.number() });
  type Plain = { name: string; stock: number };
  const byZod = lockstep.collection({ name: 'z', store: memoryStore<Plain>({ name: 'z' }), schema: zod });
  expectTypeOf(byZod.get('a')).resolves.toEqualTypeOf<Plain | undefined>();
  const byValibot = lockstep.collection({
    name: 'v',
    store: memoryStore<Plain>({ name: 'v' }),
    schema: valibot,
  });
  expectTypeOf(byValibot.get('a')).resolves.toEqualTypeOf<Plain | undefined>();
  const other = z.object({ title: z.string() });
  // @ts-expect-error a schema of something else
  lockstep.collection({ name: 'wrong', store: memoryStore<Plain>({ name: 'w' }), schema: other });

  // What may be written.
  products.put('a', { name: 'lamp', stock: 1 });
  // @ts-expect-error a field is missing
  products.put('a', { name: 'lamp' });
  // @ts-expect-error ids are strings here
  products.get(5);
  // @ts-expect-error an unknown option
  products.get('a', { ttl: 5 });
  // @ts-expect-error increments know no condition
  products.increment('a', 'stock', 1, { ifVersion: 2 });
  expectTypeOf(products.increment).parameter(1).toEqualTypeOf<'stock'>();
  products.increment('a', 'stock', 1n);
  products.increment('a', 'stock', '0.10');
  // @ts-expect-error text is no number
  products.increment('a', 'name', 1);
  // @ts-expect-error no such field
  products.increment('a', 'price', 1);
  products.update('a', (current) => {
    expectTypeOf(current).toEqualTypeOf<Product | undefined>();
    return current === undefined ? undefined : { ...current, stock: 0 };
  });
  products.update('a', () => null);
  // @ts-expect-error not a product
  products.update('a', () => ({ name: 'lamp' }));

  // What a write tells.
  const written = await products.put('a', { name: 'lamp', stock: 1 });
  expectTypeOf(written).toEqualTypeOf<WriteResult<Product>>();
  expectTypeOf(written.cache).toEqualTypeOf<CacheOutcome | 'pending'>();
  expectTypeOf<CacheOutcome>().toEqualTypeOf<'updated' | 'invalidated' | 'queued' | 'deferred'>();
  expectTypeOf(written.value).toEqualTypeOf<Product | null>();
  expectTypeOf(written.version).toEqualTypeOf<Version>();
  const own = await products.write('a', async (tx) => {
    expectTypeOf(tx).toEqualTypeOf<MemoryTx>();
    return 5;
  });
  expectTypeOf(own.returned).toEqualTypeOf<number>();
  const result = lockstep.transaction(async (tx) => {
    expectTypeOf(tx).toEqualTypeOf<Transaction>();
    return 'done' as const;
  });
  expectTypeOf(result).resolves.toEqualTypeOf<'done'>();

  // The store that it is of gives the handle's type; results wait for the commit.
  const store = memoryStore<Product>({ name: 's' });
  lockstep.transaction(
    async ({ client }) => {
      expectTypeOf(client).toEqualTypeOf<MemoryTx>();
      await products.put('a', { name: 'lamp', stock: 1 }, { tx: { client } });
    },
    { on: store },
  );
  const told = lockstep.transaction(async () => 5, { outcomes: true });
  expectTypeOf(told).resolves.toEqualTypeOf<TransactionResult<number>>();
  expectTypeOf(own.outcomes).toEqualTypeOf<readonly RowOutcome[]>();
  expectTypeOf(written.store).toEqualTypeOf<'committed' | 'buffered' | 'pending' | 'missing'>();

  // What is created may leave out what the store makes.
  expectTypeOf(products.create({ name: 'lamp' })).resolves.toEqualTypeOf<WriteResult<Product>>();
  // @ts-expect-error no such property
  products.create({ title: 'lamp' });
  // @ts-expect-error of another type
  products.create({ name: 5 });
  // @ts-expect-error there is no version yet
  products.create({ name: 'lamp' }, { ifVersion: 5 });

  // A view's value is what its load gives; its near entries have bounds, and nothing to validate by.
  const names = lockstep.view({
    name: 'names',
    load: async (prefix: string) => [prefix],
    dependsOn: () => products.any(),
    near: { maxItems: 10, maxStaleMs: 200 },
  });
  expectTypeOf(names.get('a')).resolves.toEqualTypeOf<string[]>();
  const unbounded = { name: 'n', load: () => 1, dependsOn: () => products.any() };
  // @ts-expect-error no such bound
  lockstep.view({ ...unbounded, near: { validate: true } });

  // Events carry what their name says.
  lockstep.events.on('write', (event) => {
    expectTypeOf(event).toEqualTypeOf<LockstepEventMap['write']>();
    expectTypeOf(event.cache).toEqualTypeOf<CacheOutcome>();
  });
  // @ts-expect-error no such event
  lockstep.events.on('written', () => undefined);

  // The classic form.
  const record = lockstep.through({ namespace: 'files', id: 'a', reader: async () => ({ size: 1 }) });
  expectTypeOf(record.read()).resolves.toEqualTypeOf<{ size: number } | undefined>();
}
