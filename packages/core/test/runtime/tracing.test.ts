import { AsyncLocalStorage } from 'node:async_hooks';
import { tracingChannel } from 'node:diagnostics_channel';
import { afterEach, expect, test } from 'vitest';
import type { LockstepTraceMap, LockstepTraceName } from '../../src/contracts/traces.js';
import { type CacheCalls, faultPlan, faultyCache, refuse } from '../../src/faults/index.js';
import { memoryCache, memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';

interface Product {
  readonly name: string;
  readonly stock: number;
}

const LAMP = { name: 'Lamp', stock: 7 };
const undo: (() => void)[] = [];
afterEach(() => {
  for (const each of undo.splice(0)) each();
});

/** The messages of a channel, by the moment at which they were published. */
function listen<Name extends LockstepTraceName>(
  name: Name,
  onStart: (message: LockstepTraceMap[Name]) => void = () => undefined,
) {
  const seen: (readonly [moment: string, LockstepTraceMap[Name]])[] = [];
  const channel = tracingChannel<unknown, LockstepTraceMap[Name]>(`lockstep.${name}`);
  const note = (moment: string) => (message: unknown) => {
    seen.push([moment, message as LockstepTraceMap[Name]]);
  };
  const subscribers = {
    start(message: unknown) {
      note('start')(message);
      onStart(message as LockstepTraceMap[Name]);
    },
    end: () => undefined,
    asyncStart: () => undefined,
    asyncEnd: note('asyncEnd'),
    error: note('error'),
  };
  channel.subscribe(subscribers as never);
  undo.push(() => void channel.unsubscribe(subscribers as never));
  return seen;
}

function shop() {
  const plan = faultPlan<CacheCalls>();
  const lockstep = createLockstep({ cache: faultyCache(memoryCache(), plan) });
  const store = memoryStore<Product>({ name: 'products' });
  const products = lockstep.collection({ name: 'products', store, tags: ['name'] });
  undo.push(() => void lockstep.close());
  return { lockstep, plan, products };
}

test('reads: one message for each call, which tells where the row came from', async () => {
  const { products } = shop();
  await products.put('a', LAMP);
  const gets = listen('get');
  const loads = listen('load');
  await products.get('a');
  await products.getVersioned('b');
  await products.getMany(['a', 'b', 'c']);
  const ended = gets.filter(([moment]) => moment === 'asyncEnd').map(([, message]) => message);
  expect(ended).toMatchObject([
    { collection: 'products', operation: 'get', keys: 1, result: { from: 'cache' } },
    { collection: 'products', operation: 'get', keys: 1, result: { from: 'store' } },
    { collection: 'products', operation: 'getMany', keys: 3 },
  ]);
  expect(gets.filter(([moment]) => moment === 'start')).toHaveLength(3);
  expect(loads.filter(([moment]) => moment === 'asyncEnd').map(([, { keys }]) => keys)).toEqual([1, 1]); // that there is no b is cached
});

test('a wrong call is traced where entries are near, as everywhere', async () => {
  const { lockstep } = shop();
  const store = memoryStore<Product>({ name: 'kept' });
  const kept = lockstep.collection({ name: 'kept', store, near: { maxItems: 10 } });
  await kept.put('a', LAMP);
  const gets = listen('get');
  await expect(kept.get('')).rejects.toMatchObject({ code: 'LOCKSTEP_INVALID_ID' });
  await expect(kept.getVersioned('a', { minVersion: -1 as never })).rejects.toMatchObject({
    code: 'LOCKSTEP_INVALID_OPTION',
  });
  const failed = gets.filter(([moment]) => moment === 'error').map(([, message]) => message);
  expect(failed).toMatchObject([
    { collection: 'kept', operation: 'get', error: { code: 'LOCKSTEP_INVALID_ID' } },
    { collection: 'kept', operation: 'get', error: { code: 'LOCKSTEP_INVALID_OPTION' } },
  ]);
});

test('writes: one message for each call, with its result or its error', async () => {
  const { products } = shop();
  const writes = listen('write');
  await products.put('a', LAMP);
  await products.patch('a', { stock: 6 });
  await products.increment('a', 'stock', -1);
  await products.increment('a', 'stock', -1, { min: 0 });
  await products.update('a', (row) => row && { ...row, stock: 1 });
  await products.write('a', async () => 'done');
  await products.delete('a');
  await expect(products.put('', LAMP)).rejects.toThrow('id');
  const ended = writes.filter(([moment]) => moment === 'asyncEnd').map(([, message]) => message);
  expect(ended.map(({ operation }) => operation)).toEqual([
    ...['put', 'patch', 'increment', 'increment', 'update', 'write', 'delete', 'put'],
  ]);
  expect(ended[0]?.result).toMatchObject({ store: 'committed', cache: 'updated' });
  expect(writes.filter(([moment]) => moment === 'error').map(([, { error }]) => error)).toMatchObject([
    { code: 'LOCKSTEP_INVALID_ID' },
  ]);
});

test('the relay, a view and its load', async () => {
  const { lockstep, plan, products } = shop();
  const gets = listen('get');
  const relays = listen('relay');
  const loads = listen('load');
  const list = lockstep.view<{ name: string }, number>({
    name: 'count',
    load: async () => 1,
    dependsOn: ({ name }) => products.where({ name }),
  });
  expect(await list.get({ name: 'Lamp' })).toBe(1);
  expect(gets.at(-1)).toMatchObject(['asyncEnd', { collection: 'count', operation: 'view', result: 1 }]);
  expect(loads.at(-1)).toMatchObject(['asyncEnd', { collection: 'count', keys: 1 }]);

  plan.always('execute', refuse());
  await products.put('a', LAMP);
  plan.clear();
  const handled = Promise.withResolvers<void>();
  lockstep.events.on('relay', () => handled.resolve());
  const relay = lockstep.startRelay();
  await handled.promise;
  await relay.stop();
  expect(relays.some(([moment, { changes }]) => moment === 'asyncEnd' && changes === 1)).toBe(true);
});

test('a tracer runs the call in a context of its own', async () => {
  const { products } = shop();
  const span = new AsyncLocalStorage<string>();
  listen('get', (message) => {
    message.within = (call) => span.run('the read', call);
  });
  const seen: (string | undefined)[] = [];
  listen('load', () => seen.push(span.getStore()));
  await products.get('a');
  expect(seen).toEqual(['the read']);
  expect(span.getStore()).toBeUndefined();
});
