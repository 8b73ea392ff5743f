import { describe, expect, test } from 'vitest';
import type { CacheAdapter, ScannedEntry } from '../../src/contracts/cache.js';
import type { Payload } from '../../src/contracts/cache-commands.js';
import type { QueueJob } from '../../src/contracts/queue.js';
import type { Serializer } from '../../src/contracts/serializer.js';
import { memoryCache } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { jsonSerializer } from '../../src/serializers/json.js';
import { CHAIR, elapse, LAMP, openShop, type Product, type ShopOptions, turns } from '../support/shop.js';

const KEY = { id: 'one', secret: 'a secret of one and of its friends, long' };
const OTHER = { id: 'two', secret: new Uint8Array(32).fill(7) };
const PREFIX = 'wtc:products:';

const binary: Serializer = {
  name: 'binary',
  encoding: 'binary',
  serialize: (value) => Buffer.from(JSON.stringify(value)),
  deserialize: (payload) => JSON.parse(Buffer.from(payload as Uint8Array).toString()) as unknown,
};

function openSigned(options: ShopOptions = {}, integrity: object = { keys: [KEY] }) {
  return openShop({ ...options, lockstep: { integrity, ...options.lockstep } as never });
}

type Shop = ReturnType<typeof openSigned>;

async function entryOf(
  { memory }: Shop,
  id: string,
  encoding: 'utf8' | 'binary' = 'utf8',
): Promise<ScannedEntry> {
  for await (const entry of memory.scan(PREFIX + id, encoding)) if (entry.key === PREFIX + id) return entry;
  throw new Error(`nothing is at ${id}`);
}

/** As somebody who may write to the cache's server does it. */
async function forge(
  { memory }: { memory: CacheAdapter },
  id: string,
  payload: Payload | null,
  version: number,
): Promise<void> {
  const token = `stranger ${id}`;
  await memory.execute([
    { kind: 'invalidate', key: PREFIX + id, version, holeTtlMs: 1e6, holeOnEmpty: true },
  ]);
  await memory.execute([{ kind: 'reserve', key: PREFIX + id, token, holeTtlMs: 1e6 }]);
  const put = {
    kind: 'put',
    key: PREFIX + id,
    token,
    version,
    payload,
    ttlMs: 1e6,
    staleAtMs: 0,
    holeTtlMs: 1e6,
  } as const;
  expect(await memory.execute([put])).toMatchObject([{ outcome: 'stored' }]);
}

const stored = async ({ rows }: Shop, id: string) =>
  (await rows.read([id], { timeoutMs: 1e3, primary: true }))[0];

describe('the option', () => {
  test.each<[string, object]>([
    ['keys', {}],
    ['keys', { keys: [] }],
    ['keys', { keys: Array.from({ length: 9 }, (_, i) => ({ ...KEY, id: `k${i}` })) }],
    ['keys[0].secret', { keys: [{ id: 'a', secret: 'hush hush' }] }],
    ['keys[0].secret', { keys: [{ id: 'a', secret: 'x'.repeat(1_025) }] }],
    ['keys[0].secret', { keys: [{ id: 'a', secret: 12 }] }],
    ['keys[0].id', { keys: [{ ...KEY, id: 'a.b' }] }],
    ['keys[1].id', { keys: [KEY, { ...OTHER, id: 'one' }] }],
    ['keys[0].key', { keys: [{ ...KEY, key: 1 }] }],
    ['acceptUnsigned', { keys: [KEY], acceptUnsigned: 1 }],
    ['required', { keys: [KEY], required: true }],
  ])('%s is checked, and no secret is told', (option, integrity) => {
    const open = (): unknown => createLockstep({ cache: memoryCache(), integrity: integrity as never });
    expect(open).toThrow(expect.objectContaining({ option: `createLockstep.integrity.${option}` }));
    expect(open).not.toThrow(/hush/);
  });
});

describe.each([
  ['text', jsonSerializer()],
  ['bytes', binary],
])('entries as %s', (_, serializer) => {
  const open = (integrity?: object) => openSigned({ collection: { serializer } }, integrity);

  test('are read by every process with the key, however they came: put, fill, deletion', async () => {
    const shop = open();
    await shop.products.put('a', LAMP);
    await shop.rows.write([{ kind: 'put', key: 'b', value: CHAIR, above: 0 }], { timeoutMs: 1e3 });
    await shop.products.get('b');
    await shop.products.put('c', LAMP);
    await shop.products.delete('c');
    await turns();
    const { products } = shop.join();
    shop.storePlan.always('read', async () => {
      throw new Error('the store is not to be asked');
    });
    expect(await products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'cache' });
    expect(await products.getVersioned('b')).toMatchObject({ value: CHAIR, from: 'cache' });
    expect(await products.getVersioned('c')).toMatchObject({ value: null, from: 'cache' });
  });

  test('that are forged count as misses and are replaced', async () => {
    const shop = open();
    const { encoding } = serializer;
    await shop.products.put('a', LAMP);
    await shop.products.put('b', CHAIR);
    await turns();
    const a = await entryOf(shop, 'a', encoding);
    const b = await entryOf(shop, 'b', encoding);
    const plain = serializer.serialize({ name: 'forged', stock: 1 });
    const flipped =
      typeof a.payload === 'string'
        ? a.payload.replace('3', '9')
        : Buffer.from(a.payload ?? '').map((byte, i, all) => (i === all.length - 2 ? byte ^ 1 : byte));
    const later = (n: number): number => a.version + 1_000 * n;
    for (const [what, payload, version] of [
      ['one without a signature', plain, later(1)],
      ['one that says that the row is absent', null, later(2)],
      ['one of another key', b.payload, later(3)],
      ['one of another version', a.payload, later(4)],
      ['one with another value', flipped, later(5)],
    ] as const) {
      const misses: string[] = [];
      await forge(shop, 'a', payload, version);
      const reader = shop.join();
      reader.lockstep.events.on('miss', ({ reason }) => void misses.push(reason));
      expect((await reader.products.getVersioned('a')).value, what).toEqual(LAMP);
      expect(misses, what).toEqual(['integrity']);
      await turns(60);
      expect(await shop.join().products.getVersioned('a'), what).toMatchObject({
        value: LAMP,
        from: 'cache',
      });
    }
  });

  test('of each key that is listed are believed, of none else', async () => {
    const shop = open({ keys: [KEY] });
    await shop.products.put('a', LAMP);
    const from = async (integrity: object) =>
      (await shop.join({ integrity } as never).products.getVersioned('a')).from;
    expect(await from({ keys: [OTHER, KEY] })).toBe('cache');
    expect(await from({ keys: [OTHER] })).toBe('store');
  });
});

test('what a process without keys wrote is believed with acceptUnsigned alone', async () => {
  const shop = openShop();
  await shop.products.put('a', LAMP);
  await shop.products.get('nowhere');
  await turns();
  const accepting = shop.join({ integrity: { keys: [KEY], acceptUnsigned: true } });
  expect(await accepting.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'cache' });
  expect(await accepting.products.getVersioned('nowhere')).toMatchObject({ value: null, from: 'cache' });
  const strict = shop.join({ integrity: { keys: [KEY] } });
  expect(await strict.products.getVersioned('nowhere')).toMatchObject({ value: null, from: 'store' });
  expect(await strict.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'store' });
  // Signed by now: to a process without keys a miss, and nothing worse.
  await turns(60);
  expect(await shop.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'store' });
});

test('a row that is stamped anew below a floor is signed at its new version', async () => {
  const shop = openSigned();
  const { version } = await shop.products.put('a', LAMP);
  const floor = {
    kind: 'invalidate',
    key: `${PREFIX}a`,
    version: version + 10_000,
    holeTtlMs: 1e6,
    holeOnEmpty: true,
  } as const;
  await shop.memory.execute([floor]);
  expect(await shop.products.get('a')).toEqual(LAMP);
  await turns(60);
  expect(await shop.join().products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'cache' });
});

describe('buffered writes', () => {
  async function openBehind() {
    const shop = openSigned({ collection: { strategy: 'write-behind' } });
    for (const key of ['a', 'b']) {
      await shop.rows.write([{ kind: 'put', key, value: LAMP, above: 0 }], { timeoutMs: 1e3 });
      await shop.products.get(key);
    }
    await turns();
    return shop;
  }

  async function buffer(shop: Shop, id: string, payload: Payload | null): Promise<void> {
    const notAfterMs = shop.clock.now() + 1_000;
    const command = { kind: 'buffer', key: PREFIX + id, payload, notAfterMs, durable: false } as const;
    expect(await shop.memory.execute([command])).toMatchObject([{ outcome: 'buffered' }]);
    await shop.memory.unflushed?.add(`unflushed:${PREFIX}`, [id], 1_000);
  }

  test('ours are read, flushed, and read again; deletions, too', async () => {
    const shop = await openBehind();
    expect(await shop.products.put('a', CHAIR)).toMatchObject({ store: 'buffered' });
    expect(await shop.join().products.getVersioned('a')).toMatchObject({ value: CHAIR, from: 'cache' });
    await shop.products.flush();
    expect((await stored(shop, 'a'))?.value).toEqual(CHAIR);
    expect(await shop.join().products.getVersioned('a')).toMatchObject({ value: CHAIR, from: 'cache' });
    await shop.products.delete('a');
    await shop.products.flush();
    expect(await stored(shop, 'a')).toBeUndefined();
  });

  test('forged ones never reach the store: unsigned, deletions, and those of another key', async () => {
    for (const [what, payload] of [
      ['unsigned', JSON.stringify(CHAIR)],
      ['a deletion', null],
      ['of another key', undefined],
    ] as const) {
      const shop = await openBehind();
      const refusals = shop.record('flushRefused');
      await shop.products.put('b', CHAIR);
      await buffer(shop, 'a', payload === undefined ? (await entryOf(shop, 'b')).payload : payload);
      await elapse(shop.clock, shop.products.flush());
      expect((await stored(shop, 'a'))?.value, what).toEqual(LAMP);
      expect((await stored(shop, 'b'))?.value, what).toEqual(CHAIR);
      expect(refusals, what).toMatchObject([{ key: 'a', error: { code: 'LOCKSTEP_SERIALIZATION' } }]);
    }
  });

  test('a process without the keys does not set aside what it can not read', async () => {
    const shop = await openBehind();
    await shop.products.put('a', CHAIR);
    const plain = shop.join({ integrity: undefined } as never);
    const refusals: unknown[] = [];
    plain.lockstep.events.on('flushRefused', (event) => void refusals.push(event));
    await expect(plain.products.flush()).rejects.toMatchObject({ code: 'LOCKSTEP_UNSUPPORTED' });
    expect(refusals).toEqual([]);
    await shop.products.flush();
    expect((await stored(shop, 'a'))?.value).toEqual(CHAIR);
  });
});

describe('jobs', () => {
  async function queued(shop: Shop): Promise<QueueJob> {
    const { promise, resolve } = Promise.withResolvers<QueueJob>();
    const consumer = await shop.jobs.consume(async (job) => resolve(job));
    shop.cachePlan.always('execute', async () => {
      throw new Error('away');
    });
    expect(await shop.products.put('a', CHAIR)).toMatchObject({ cache: 'queued' });
    shop.cachePlan.clear();
    await consumer.close();
    return await promise;
  }

  test('ours are handled; changed ones, others’ and those of unknown keys are refused', async () => {
    const shop = openSigned();
    await shop.products.put('a', LAMP);
    const job = await queued(shop);
    expect(job).toMatchObject({ kind: 'invalidate', mac: expect.stringMatching(/^one\./) });
    const { mac: _, ...unsigned } = job;
    const refused = { code: 'LOCKSTEP_JOB_REFUSED', message: expect.stringContaining('signature') };
    for (const bad of [
      unsigned,
      { ...job, version: 4 },
      { ...job, key: `${PREFIX}b` },
      { ...job, mac: 'one.x' },
    ]) {
      await expect(shop.lockstep.handleJob(bad as QueueJob)).rejects.toMatchObject(refused);
    }
    const other = shop.join({ integrity: { keys: [OTHER] } }).lockstep;
    await expect(other.handleJob(job)).rejects.toMatchObject(refused);
    await shop.join({ integrity: { keys: [OTHER, KEY] } }).lockstep.handleJob(job);
    expect(await shop.join().products.get('a')).toEqual(CHAIR);
    await shop
      .join({ integrity: { keys: [KEY], acceptUnsigned: true } })
      .lockstep.handleJob(unsigned as QueueJob);
    // Without the option nobody asks.
    await shop.join({ integrity: undefined } as never).lockstep.handleJob(job);
  });

  test('a refused write is signed whole on its way to the dead letters', async () => {
    const shop = openSigned({
      collection: { strategy: 'write-behind' },
      validate: (row: Product) => {
        if (row.stock === 5) throw new Error('five');
      },
    });
    await shop.rows.write([{ kind: 'put', key: 'a', value: LAMP, above: 0 }], { timeoutMs: 1e3 });
    await shop.products.get('a');
    await turns();
    await shop.products.put('a', CHAIR);
    const consumer = await shop.jobs.consume((job) => shop.lockstep.handleJob(job));
    await elapse(shop.clock, turns(60));
    await consumer.close();
    const [letter] = await shop.jobs.deadLetters.list();
    expect(letter?.job).toMatchObject({
      kind: 'flush',
      refused: { payload: expect.any(String) },
      mac: expect.any(String),
    });
    expect(letter?.error).toContain('five');
    const job = letter?.job as Extract<QueueJob, { kind: 'flush' }>;
    const forged = { ...job, refused: { ...job.refused, version: 9 } } as QueueJob;
    await expect(shop.lockstep.handleJob(forged)).rejects.toThrow('signature');
  });
});
