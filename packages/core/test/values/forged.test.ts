import type { StandardSchemaV1 } from '@standard-schema/spec';
import { describe, expect, test } from 'vitest';
import type { Payload } from '../../src/contracts/cache-commands.js';
import type { QueueJob } from '../../src/contracts/queue.js';
import { JobRefusedError } from '../../src/errors.js';
import { elapse, LAMP, openShop, type Product, turns } from '../support/shop.js';

const PREFIX = 'wtc:products:';
const DAY_US = 24 * 3_600_000_000;

/** At most ten of a product, whose name is cut to size; a fault of its own at 13. */
const schema: StandardSchemaV1<unknown, Product> = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: (input) => {
      const { name, stock } = input as Product;
      if (stock === 13) throw new TypeError('thirteen');
      return stock > 10
        ? { issues: [{ message: 'too many' }] }
        : { value: { name: name.slice(0, 8), stock } };
    },
  },
};

type Shop = Awaited<ReturnType<typeof openGuarded>>;

async function openGuarded(withQueue = true) {
  const shop = openShop({
    withQueue,
    collection: { schema, strategy: 'write-behind', maxPayloadBytes: 200 },
  });
  await shop.rows.write([{ kind: 'put', key: 'a', value: LAMP, above: 0 }], { timeoutMs: 1_000 });
  await shop.rows.write([{ kind: 'put', key: 'b', value: LAMP, above: 0 }], { timeoutMs: 1_000 });
  await shop.products.getMany(['a', 'b']);
  await turns();
  return shop;
}

/** As somebody who may write to the cache's server does it. */
async function forge({ clock, memory }: Shop, id: string, payload: Payload): Promise<void> {
  const command = { kind: 'buffer', payload, notAfterMs: clock.now() + 1_000, durable: false } as const;
  const [reply] = await memory.execute([{ ...command, key: PREFIX + id }]);
  expect(reply).toMatchObject({ outcome: 'buffered' });
  await memory.unflushed?.add(`unflushed:${PREFIX}`, [id], 1_000);
}

const row = async ({ rows }: Shop, id: string) =>
  (await rows.read([id], { timeoutMs: 1_000, primary: true }))[0];

describe('a buffered write is validated like a put', () => {
  const long = JSON.stringify({ name: 'x'.repeat(300), stock: 1 });
  test.each([
    ['past the schema', JSON.stringify({ name: 'lamp', stock: 11 }), 'LOCKSTEP_VALIDATION'],
    ['that the schema fails on', JSON.stringify({ name: 'lamp', stock: 13 }), 'LOCKSTEP_SERIALIZATION'],
    ['that is no value', 'null', 'LOCKSTEP_SERIALIZATION'],
    ['that is no payload', '{"name":', 'LOCKSTEP_SERIALIZATION'],
    ['longer than maxPayloadBytes', long, 'LOCKSTEP_SERIALIZATION'],
  ])('one %s never reaches the store: an event and a dead letter have it', async (_, payload, code) => {
    const shop = await openGuarded();
    const refusals = shop.record('flushRefused');
    const consumer = await shop.jobs.consume((job) => shop.lockstep.handleJob(job));
    await forge(shop, 'a', payload);
    await forge(shop, 'b', JSON.stringify({ name: 'good', stock: 2 }));
    await shop.products.flush();
    await elapse(shop.clock, turns(60));
    await consumer.close();
    expect((await row(shop, 'a'))?.value).toEqual(LAMP);
    expect((await row(shop, 'b'))?.value).toEqual({ name: 'good', stock: 2 });
    expect(refusals).toMatchObject([{ key: 'a', refused: { payload }, error: { code } }]);
    expect(await shop.jobs.deadLetters.list()).toMatchObject([
      { job: { kind: 'flush', key: 'a', refused: { payload } } },
    ]);
    expect(await shop.products.get('a')).toEqual(LAMP);
    // Replayed, it is refused again.
    const again = await shop.jobs.consume((job) => shop.lockstep.handleJob(job));
    await shop.jobs.deadLetters.replay();
    await elapse(shop.clock, turns(60));
    await again.close();
    expect(await shop.jobs.deadLetters.list()).toHaveLength(1);
    expect((await row(shop, 'a'))?.value).toEqual(LAMP);
  });

  test('the store gets what the schema makes of it', async () => {
    const shop = await openGuarded(false);
    await forge(shop, 'a', JSON.stringify({ name: 'a very long name', stock: 1, role: 'admin' }));
    await shop.products.flush();
    expect((await row(shop, 'a'))?.value).toEqual({ name: 'a very l', stock: 1 });
  });

  test('without a queue the event alone has it, and what is behind it gets its turn', async () => {
    const shop = await openGuarded(false);
    const refusals = shop.record('flushRefused');
    await forge(shop, 'a', '{}');
    await forge(shop, 'b', JSON.stringify({ name: 'good', stock: 2 }));
    const relay = shop.lockstep.startRelay();
    await elapse(shop.clock, turns(3_000));
    await relay.stop();
    expect(refusals).toMatchObject([{ key: 'a', refused: { payload: '{}' } }]);
    expect((await row(shop, 'b'))?.value).toEqual({ name: 'good', stock: 2 });
  });
});

describe('a job that no Lockstep can have made is refused, with the cache as it was', () => {
  const now = 2_000_000_000_000 * 1_000;
  test.each<[string, unknown]>([
    ['of no kind', { kind: 'drop', key: `${PREFIX}a` }],
    ['that is null', null],
    ['without a version', { kind: 'invalidate', key: `${PREFIX}a` }],
    ['with a version that is text', { kind: 'invalidate', key: `${PREFIX}a`, version: '5' }],
    ['with a negative version', { kind: 'invalidate', key: `${PREFIX}a`, version: -2 }],
    ['with an unsafe version', { kind: 'invalidate', key: `${PREFIX}a`, version: 2 ** 60 }],
    ['with a version far ahead', { kind: 'invalidate', key: `${PREFIX}a`, version: now + 400_000 * DAY_US }],
    ['of another prefix', { kind: 'invalidate', key: 'other:products:a', version: 4 }],
    ['of no collection', { kind: 'invalidate', key: 'wtc:a', version: 4 }],
    ['of an empty key', { kind: 'invalidate', key: PREFIX, version: 4 }],
    ['of a key that is too long', { kind: 'invalidate', key: PREFIX + 'x'.repeat(1_025), version: 4 }],
    ['of a key that is no text', { kind: 'invalidate', key: [`${PREFIX}a`], version: 4 }],
    ['that flushes no collection', { kind: 'flush', key: 'a' }],
    [
      'with half a refused write',
      { kind: 'flush', collection: 'products', key: 'a', refused: { version: 3 } },
    ],
  ])('one %s', async (_, job) => {
    const shop = await openGuarded();
    const before = await shop.entry('a');
    const handling = shop.lockstep.handleJob(job as QueueJob);
    await expect(handling).rejects.toBeInstanceOf(JobRefusedError);
    await expect(handling).rejects.toThrow(/^the job is refused: /);
    expect(await shop.entry('a')).toEqual(before);
  });
});

describe('an invalidation of the queue leaves a floor on an empty key', () => {
  const job = (collection: string): QueueJob => ({
    kind: 'invalidate',
    key: `wtc:${collection}:x`,
    version: 8,
  });
  const floor = async (shop: Shop, collection: string) => {
    for await (const { key, version } of shop.memory.scan(`wtc:${collection}:`, 'utf8')) {
      if (key === `wtc:${collection}:x`) return version;
    }
    return undefined;
  };

  test('where loads may read a lagging replica, for as long as the collection says; not elsewhere', async () => {
    const shop = await openGuarded();
    const capabilities = { ...shop.rows.capabilities, replicaReads: true };
    const lagging = { ...shop.rows, capabilities, name: 'lagging' };
    shop.lockstep.collection({ name: 'lagging', store: lagging, holeTtlMs: 200_000 });
    await shop.lockstep.handleJob(job('lagging'));
    await shop.lockstep.handleJob(job('products'));
    expect(await floor(shop, 'products')).toBeUndefined();
    shop.clock.advance(199_000);
    expect(await floor(shop, 'lagging')).toBe(8);
    shop.clock.advance(2_000);
    expect(await floor(shop, 'lagging')).toBeUndefined();
  });

  test('where the collection is not declared here', async () => {
    const shop = await openGuarded();
    await shop.lockstep.handleJob(job('unknown'));
    expect(await floor(shop, 'unknown')).toBe(8);
  });
});
