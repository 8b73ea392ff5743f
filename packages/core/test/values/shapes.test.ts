import { expect, test } from 'vitest';
import type { CacheAdapter } from '../../src/contracts/cache.js';
import type { CollectionOptions, LockstepOptions } from '../../src/contracts/options.js';
import type { RowShape } from '../../src/contracts/rows.js';
import type { StoreAdapter, StoreCommand } from '../../src/contracts/store.js';
import { memoryCache, memoryDatabase, memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { jsonSerializer } from '../../src/serializers/json.js';
import { msgpackSerializer } from '../../src/serializers/msgpack.js';

type Row = Readonly<Record<string, unknown>>;

const NAME = ['name', 'text'] as const;
const PLAN = ['plan', 'text'] as const;
const KEY = { id: 'one', secret: 'a secret of one and of its friends, long' };

const only = (value: Row, { properties }: RowShape): Row =>
  Object.fromEntries(Object.entries(value).filter(([property]) => properties?.has(property) ?? true));

const shapeOf = (order: number, ...columns: (readonly [string, string])[]): RowShape => ({
  order,
  properties: new Map(columns),
});

interface World {
  readonly database: ReturnType<typeof memoryDatabase>;
  readonly cache: CacheAdapter;
}

function world(): World {
  return { database: memoryDatabase(), cache: memoryCache() };
}

/** A process that knows a shape: it reads, and writes, the columns of it. */
function processOf(
  { cache, database }: World,
  first: RowShape,
  collection: Partial<CollectionOptions<Row>> = {},
  options: Partial<LockstepOptions> = {},
) {
  const rows = memoryStore<Row>({ name: 'users', database });
  let shape: RowShape | undefined = first;
  let onRenew = (): void => {};
  let stuck = false;
  const loads: string[] = [];
  const store: StoreAdapter<Row> = {
    ...rows,
    shape: { current: () => shape, renew: async () => onRenew() },
    async read(keys, call) {
      loads.push(...keys);
      const found = await rows.read(keys, call);
      return found.map((row) => row && { ...row, value: shape ? only(row.value, shape) : row.value });
    },
    async write(commands, call) {
      if (stuck) return await new Promise(() => {});
      const merged = await Promise.all(
        commands.map(async (command): Promise<StoreCommand<Row>> => {
          if (command.kind !== 'put' && command.kind !== 'flush') return command;
          const [before] = await rows.read([command.key], { ...call, primary: true });
          return command.value === null
            ? command
            : ({ ...command, value: { ...before?.value, ...command.value } } as StoreCommand<Row>);
        }),
      );
      const outcomes = await rows.write(merged, call);
      return outcomes.map((outcome) =>
        outcome.kind === 'written' && outcome.value !== null && shape
          ? { ...outcome, value: only(outcome.value, shape) }
          : outcome,
      );
    },
  };
  const lockstep = createLockstep({ cache, ...options });
  const misses: unknown[] = [];
  lockstep.events.on('miss', ({ reason }) => void misses.push(reason));
  return {
    rows,
    loads,
    misses,
    users: lockstep.collection({ name: 'users', store, ...collection }),
    get info() {
      const [info] = lockstep.collections;
      if (info === undefined) throw new Error('no collection');
      return info;
    },
    become: (next: RowShape | undefined) => {
      shape = next;
    },
    /** Its own flushes do not get through. */
    stick: (on = true) => {
      stuck = on;
    },
    renewing: (renew: () => void) => {
      onRenew = renew;
    },
    settled: () => new Promise((resolve) => setTimeout(resolve, 5)),
  };
}

const OLD = shapeOf(1, NAME);
const NEW = shapeOf(2, NAME, PLAN);

test.each([
  ['JSON', jsonSerializer(), {}],
  ['MessagePack', msgpackSerializer(), {}],
  ['JSON, signed', jsonSerializer(), { integrity: { keys: [KEY] } }],
  ['MessagePack, signed', msgpackSerializer(), { integrity: { keys: [KEY] } }],
])(
  '%s: an entry that lacks a column is loaded anew; one with more is shown without',
  async (_, serializer, options) => {
    const at = world();
    const old = processOf(at, OLD, { serializer }, options);
    const fresh = processOf(at, NEW, { serializer }, options);
    await old.rows.foreignWrite('1', { name: 'a', plan: 'free' });
    expect(await old.users.get('1')).toEqual({ name: 'a' });
    await old.settled();
    expect(await fresh.users.get('1')).toEqual({ name: 'a', plan: 'free' });
    await fresh.settled();
    expect(fresh.misses).toEqual(['shape']);
    // In place, at the same version: neither loads again.
    expect(await fresh.users.get('1')).toEqual({ name: 'a', plan: 'free' });
    expect(await old.users.get('1')).toEqual({ name: 'a' });
    expect([old.loads, fresh.loads]).toEqual([['1'], ['1']]);
    // And so after each other's writes.
    await old.users.put('1', { name: 'b' });
    expect(await fresh.users.get('1')).toEqual({ name: 'b', plan: 'free' });
    await fresh.users.put('1', { name: 'c', plan: 'pro' });
    expect(await old.users.get('1')).toEqual({ name: 'c' });
  },
);

test('an entry of a later shape stays: who lacks something of it goes to the store, and fills nothing', async () => {
  const at = world();
  const old = processOf(at, shapeOf(1, NAME, ['cents', 'int4']));
  const fresh = processOf(at, shapeOf(2, NAME, ['cents', 'numeric']));
  await old.rows.foreignWrite('1', { name: 'a', cents: 1 });
  await fresh.users.get('1');
  await fresh.settled();
  for (let round = 0; round < 3; round++) {
    await old.users.get('1');
    await old.settled();
    await fresh.users.get('1');
  }
  expect(fresh.loads).toEqual(['1']);
  expect(old.loads).toEqual(['1', '1', '1']);
  // Of the same catalogue, but of other names: one of the two is the later all the same.
  const one = processOf(at, shapeOf(3, ['a', 'text']));
  const two = processOf(at, shapeOf(3, ['b', 'text']));
  for (let round = 0; round < 3; round++) {
    await one.users.get('1');
    await one.settled();
    await two.users.get('1');
    await two.settled();
  }
  expect(Math.min(one.loads.length, two.loads.length)).toBe(1);
});

test('a shape that is not known at the moment takes nothing from the cache, and leaves nothing to others', async () => {
  const at = world();
  const old = processOf(at, OLD);
  await old.rows.foreignWrite('1', { name: 'a' });
  await old.users.get('1');
  await old.settled();
  old.become(undefined);
  await old.users.get('1');
  expect(old.loads).toEqual(['1', '1']);
  await old.users.put('1', { name: 'odd' });
  old.become(OLD);
  expect(await old.users.get('1')).toEqual({ name: 'odd' });
  expect(old.misses).toEqual(['absent', 'shape', 'shape']);
  // Nor does it stand in the way of those without a name.
  const unnamed = processOf(at, { order: 0, name: '' });
  old.become(undefined);
  await old.users.put('1', { name: 'odder' });
  await unnamed.users.get('1');
  await unnamed.settled();
  expect((await unnamed.users.getVersioned('1')).from).toBe('cache');
});

test('names order shapes by hand, numbers in them as numbers', async () => {
  const at = world();
  const nine = processOf(at, { order: 0, name: 'v9' });
  const ten = processOf(at, { order: 0, name: 'v10' });
  await nine.rows.foreignWrite('1', { name: 'a' });
  await nine.users.get('1');
  await nine.settled();
  for (let round = 0; round < 2; round++) {
    await ten.users.get('1');
    await ten.settled();
    await nine.users.get('1');
    await nine.settled();
  }
  expect([nine.loads.length, ten.loads.length]).toEqual([3, 1]);
});

test.each([
  ['JSON', jsonSerializer()],
  ['MessagePack', msgpackSerializer()],
])(
  '%s: without a name payloads stay as they are, and are earlier than any that has one',
  async (_, serializer) => {
    const at = world();
    const plain = createLockstep({ cache: at.cache });
    const none = plain.collection({
      name: 'users',
      store: memoryStore<Row>({ name: 'users', database: at.database }),
      serializer,
    });
    const unnamed = processOf(at, { order: 0, name: '' }, { serializer });
    const named = processOf(at, { order: 1, name: 'v1' }, { serializer });
    await unnamed.rows.foreignWrite('1', { name: 'a' });
    await unnamed.users.get('1');
    await unnamed.settled();
    // Readable to a store that tells nothing of shapes.
    expect((await none.getVersioned('1')).from).toBe('cache');
    for (let round = 0; round < 3; round++) {
      expect(await named.users.get('1')).toEqual({ name: 'a' });
      await named.settled();
      expect(await unnamed.users.get('1')).toEqual({ name: 'a' });
      await unnamed.settled();
    }
    expect([unnamed.loads.length, named.loads.length]).toEqual([4, 1]);
  },
);

test('a refresh by a process of an earlier shape leaves a later one’s entry, unless the row is newer', async () => {
  const at = world();
  const first = processOf(at, { order: 1, name: 'a' });
  const second = processOf(at, { order: 2, name: 'b' });
  await first.rows.foreignWrite('1', { n: 1 });
  await second.users.get('1');
  await second.settled();
  expect(await first.users.refresh('1')).toEqual({ n: 1 });
  await first.settled();
  await second.users.get('1');
  expect(second.loads).toEqual(['1']);
  // Its own is refreshed by the later one, too.
  await first.rows.foreignWrite('1', { n: 2 });
  expect(await first.users.refresh('1')).toEqual({ n: 2 });
  await first.settled();
  expect(await first.users.get('1')).toEqual({ n: 2 });
  expect(first.loads).toEqual(['1', '1']);
});

test('a load of an earlier shape does not replace what a later one has put in place meanwhile', async () => {
  const at = world();
  const zero = processOf(at, { order: 0, name: '' });
  const second = processOf(at, { order: 2, name: 'b' });
  let meanwhile = async (): Promise<void> => {};
  const rows = memoryStore<Row>({ name: 'users', database: at.database });
  const store: StoreAdapter<Row> = {
    ...rows,
    shape: { current: () => ({ order: 1, name: 'a' }), renew: async () => {} },
    async read(keys, call) {
      const found = await rows.read(keys, call);
      await meanwhile();
      return found;
    },
  };
  const first = createLockstep({ cache: at.cache }).collection({ name: 'users', store });
  await zero.rows.foreignWrite('1', { n: 1 });
  await zero.users.get('1');
  await zero.settled();
  meanwhile = async () => {
    await second.users.get('1');
    await second.settled();
  };
  expect(await first.get('1')).toEqual({ n: 1 });
  await second.settled();
  await second.users.get('1');
  expect(second.loads).toEqual(['1']);
});

test.each([
  ['JSON', {}],
  ['JSON, signed', { integrity: { keys: [KEY] } }],
])('%s: a buffered write of another shape is flushed first, by whoever reads it', async (_, options) => {
  const at = world();
  const collection = { strategy: 'write-behind' } as const;
  const old = processOf(at, OLD, collection, options);
  const fresh = processOf(at, NEW, collection, options);
  await old.rows.foreignWrite('1', { name: 'a', plan: 'pro' });
  await old.users.get('1');
  await old.settled();
  old.stick();
  expect(await old.users.put('1', { name: 'b' }, {})).toMatchObject({ store: 'buffered' });
  expect(await fresh.users.get('1')).toEqual({ name: 'b', plan: 'pro' });
  // The other way round the one who flushes asks the store what there is to be known.
  await fresh.settled();
  old.stick(false);
  fresh.stick();
  expect(await fresh.users.put('1', { name: 'c', plan: 'max' })).toMatchObject({ store: 'buffered' });
  old.renewing(() => old.become(NEW));
  await old.users.flush();
  expect((await old.rows.read(['1'], { timeoutMs: 100, primary: true }))[0]?.value).toEqual({
    name: 'c',
    plan: 'max',
  });
});

test('a column that is gone is gone for what was buffered, too', async () => {
  const at = world();
  const collection = { strategy: 'write-behind' } as const;
  const fresh = processOf(at, NEW, collection);
  const later = processOf(at, shapeOf(3, NAME), collection);
  await fresh.rows.foreignWrite('1', { name: 'a', plan: 'pro' });
  await fresh.users.get('1');
  await fresh.settled();
  fresh.stick();
  await fresh.users.put('1', { name: 'b', plan: 'max' });
  await later.users.flush();
  expect((await later.rows.read(['1'], { timeoutMs: 100, primary: true }))[0]?.value).toEqual({
    name: 'b',
    plan: 'pro',
  });
});

test('tools decode an entry as a read would, and are told which one can’t be read', async () => {
  const at = world();
  const fresh = processOf(at, NEW);
  const old = processOf(at, OLD);
  await fresh.rows.foreignWrite('1', { name: 'a', plan: 'free' });
  await fresh.users.get('1');
  await fresh.settled();
  const [hit] = await at.cache.read(['wtc:users:1'], 'utf8');
  if (hit === undefined || hit instanceof Error) throw new Error('nothing is cached');
  expect(await fresh.info.decode(hit, '1')).toEqual({ name: 'a', plan: 'free' });
  expect(await old.info.decode(hit, '1')).toEqual({ name: 'a' });
  expect(await old.info.decode({ ...hit, payload: null }, '1')).toBeNull();
  await expect(fresh.info.decode({ ...hit, payload: 'neither' }, '1')).rejects.toMatchObject({
    code: 'LOCKSTEP_SERIALIZATION',
    key: '1',
  });
});

test('what an entry holds is told to a process that does not know its rows’ shape yet', async () => {
  const at = world();
  const writer = processOf(at, NEW);
  await writer.users.put('1', { name: 'a', plan: 'free' });
  const reader = processOf(at, NEW);
  reader.become(undefined);
  reader.renewing(() => reader.become(NEW));
  const { keyPrefix, decode, serializer } = reader.info;
  const key = `${keyPrefix}1`;
  const [entry] = await at.cache.read([key], serializer.encoding);
  if (entry === undefined || entry instanceof Error) throw new Error('no entry');
  expect(await decode(entry, key)).toEqual({ name: 'a', plan: 'free' });
});
