import type { StandardSchemaV1 } from '@standard-schema/spec';
import { describe, expect, test } from 'vitest';
import type { CollectionOptions } from '../../src/contracts/options.js';
import {
  ConflictError,
  InvalidOptionError,
  StoreRefusedError,
  UnsupportedError,
  ValidationError,
} from '../../src/errors.js';
import {
  type CacheCalls,
  faultPlan,
  faultyCache,
  faultyStore,
  manualClock,
  refuse,
  type StoreCalls,
} from '../../src/faults/index.js';
import { memoryCache, memoryDatabase, memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { type CallbackStoreOptions, callbackStore } from '../../src/stores/callback-store.js';
import { LAMP, openShop, turns } from '../support/shop.js';

interface User {
  readonly id: string;
  readonly name: string;
}

/** Users whose ids the store makes, unless they come with one. */
function openUsers(options: Partial<CollectionOptions<User>> = {}) {
  const clock = manualClock();
  const cachePlan = faultPlan<CacheCalls>({ clock });
  const storePlan = faultPlan<StoreCalls>({ clock });
  const cache = faultyCache(memoryCache({ clock }), cachePlan);
  let made = 0;
  const rows = memoryStore<User>({
    name: 'users',
    clock,
    newRow: (value) => {
      const id = value.id ?? `u${++made}`;
      return { id, value: { ...value, id } };
    },
    validate: ({ name }) => {
      if (typeof name !== 'string') throw new Error('name must not be null');
    },
  });
  const join = () => {
    const lockstep = createLockstep({ cache, clock, random: () => 0.5 });
    return {
      lockstep,
      users: lockstep.collection({ name: 'users', store: faultyStore(rows, storePlan), ...options }),
    };
  };
  return { clock, cachePlan, storePlan, rows, join, ...join() };
}

describe('create', () => {
  test('the store makes the key, and the row is cached as it comes back', async () => {
    const { join, lockstep, users } = openUsers();
    const written: unknown[] = [];
    lockstep.events.on('write', (event) => written.push(event));
    const created = await users.create({ name: 'Ada' });
    expect(created).toMatchObject({
      value: { id: 'u1', name: 'Ada' },
      cache: 'updated',
      store: 'committed',
      coalesced: false,
    });
    expect(written).toMatchObject([{ collection: 'users', key: 'u1', op: 'put', version: created.version }]);
    expect(await join().users.getVersioned('u1')).toEqual({
      value: { id: 'u1', name: 'Ada' },
      version: created.version,
      from: 'cache',
    });
  });

  test('what is asked for at the same time is drawn in one call, and each is its own row', async () => {
    const { storePlan, users } = openUsers();
    const names = Array.from({ length: 50 }, (_, n) => `user ${n}`);
    const created = await Promise.all(names.map((name) => users.create({ name })));
    expect(new Set(created.map(({ value }) => value?.id)).size).toBe(50);
    expect(created.map(({ value }) => value?.name)).toEqual(names);
    expect(storePlan.calls('newRows')).toBe(1);
    expect(storePlan.calls('write')).toBeLessThan(5);
  });

  test('that there is no such row is known no more when it is acknowledged, in no process (G2)', async () => {
    const { join, lockstep, users } = openUsers();
    const other = join();
    expect(await other.users.get('u1')).toBeUndefined();
    await other.lockstep.drain();
    expect(await other.users.getVersioned('u1')).toMatchObject({ value: null, from: 'cache' });
    await users.create({ name: 'Ada' });
    await lockstep.drain();
    expect(await other.users.getVersioned('u1')).toMatchObject({ value: { name: 'Ada' }, from: 'cache' });
  });

  test('a key that has a row is refused as a conflict, and the row stays', async () => {
    const { users } = openUsers();
    await users.put('u1', { id: 'u1', name: 'Ada' });
    const refused = users.create({ name: 'Bob' });
    await expect(refused).rejects.toBeInstanceOf(ConflictError);
    await expect(refused).rejects.toMatchObject({ collection: 'users', key: 'u1' });
    await expect(users.create({ id: 'u1', name: 'Bob' })).rejects.toBeInstanceOf(ConflictError);
    expect(await users.get('u1')).toEqual({ id: 'u1', name: 'Ada' });
    expect(await users.create({ id: 'other', name: 'Bob' })).toMatchObject({ value: { id: 'other' } });
  });

  test('what the store refuses fails its own caller alone', async () => {
    const { users } = openUsers();
    const [ok, refused, alsoOk] = await Promise.allSettled([
      users.create({ name: 'Ada' }),
      users.create({}),
      users.create({ name: 'Bob' }),
    ]);
    expect([ok.status, refused.status, alsoOk.status]).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    await expect(users.create({})).rejects.toBeInstanceOf(StoreRefusedError);
  });

  test('takes part in a transaction: nothing before its commit, and nothing after it was rolled back', async () => {
    const { lockstep, rows, users } = openUsers();
    const created = await lockstep.transaction(async (tx) => {
      const result = await users.create({ name: 'Ada' }, { tx });
      expect(result).toMatchObject({ value: { id: 'u1' }, cache: 'pending', store: 'pending' });
      expect(await users.get('u1')).toBeUndefined();
      return result;
    });
    expect(await users.getVersioned('u1')).toMatchObject({
      version: created.version,
      value: { name: 'Ada' },
    });
    const undone = lockstep.transaction(async (tx) => {
      await users.create({ name: 'Bob' }, { tx });
      throw new Error('no');
    });
    await expect(undone).rejects.toThrow('no');
    expect(rows.keys()).toEqual(['u1']);
    expect(await users.get('u2')).toBeUndefined();
  });

  test('in a strict collection the cache is told before the store is touched (G7)', async () => {
    const { cachePlan, rows, users } = openUsers({ consistency: 'strict' });
    cachePlan.always('execute', refuse(new Error('away')));
    await expect(users.create({ name: 'Ada' })).rejects.toMatchObject({ code: 'LOCKSTEP_CACHE_UNAVAILABLE' });
    expect(rows.keys()).toEqual([]);
    cachePlan.clear();
  });

  test.each<[string, Partial<CollectionOptions<User>>]>([
    ['a buffer', { burst: {} }],
    ['write-behind', { strategy: 'write-behind' }],
  ])('with %s it goes to the store, and is cached all the same', async (_, options) => {
    const { rows, users } = openUsers(options);
    expect(await users.get('u1')).toBeUndefined();
    expect(await users.create({ name: 'Ada' })).toMatchObject({ store: 'committed', cache: 'updated' });
    expect(rows.keys()).toEqual(['u1']);
    expect(await users.getVersioned('u1')).toMatchObject({ value: { name: 'Ada' }, from: 'cache' });
  });

  test('cache-aside leaves it to the next reader', async () => {
    const { users } = openUsers({ strategy: 'cache-aside' });
    expect(await users.create({ name: 'Ada' })).toMatchObject({ cache: 'invalidated' });
    expect(await users.getVersioned('u1')).toMatchObject({ value: { name: 'Ada' }, from: 'store' });
  });

  test('that no row has a unique value is known no more (G2)', async () => {
    const database = memoryDatabase();
    const newRow = (value: User): { id: string; value: User } => ({
      id: 'u1',
      value: { ...value, id: 'u1' },
    });
    const store = memoryStore<User>({ name: 'users', database, unique: ['name'], newRow });
    const lockstep = createLockstep({ cache: memoryCache() });
    const users = lockstep.collection({ name: 'users', store, unique: ['name'] as const });
    expect(await users.getBy('name', 'Ada')).toBeUndefined();
    await lockstep.drain();
    await users.create({ name: 'Ada' });
    expect(await users.getBy('name', 'Ada')).toEqual({ id: 'u1', name: 'Ada' });
    await lockstep.close();
  });

  test('a schema sees the value with its key', async () => {
    const schema: StandardSchemaV1<unknown, User> = {
      '~standard': {
        version: 1,
        vendor: 'test',
        validate: (value) => {
          const { id, name } = value as User;
          if (typeof id !== 'string') return { issues: [{ message: 'no id' }] };
          return name === '' ? { issues: [{ message: 'no name' }] } : { value: { id, name } };
        },
      },
    };
    const { rows, users } = openUsers({ schema });
    expect(await users.create({ name: 'Ada' })).toMatchObject({ value: { id: 'u1', name: 'Ada' } });
    await expect(users.create({ name: '' })).rejects.toBeInstanceOf(ValidationError);
    expect(rows.keys()).toEqual(['u1']);
  });

  test('the value is taken as it is at the call', async () => {
    const { users } = openUsers();
    const value = { name: 'Ada' };
    const creating = users.create(value);
    value.name = 'Bob';
    expect((await creating).value).toEqual({ id: 'u1', name: 'Ada' });
  });

  test('wrong calls, and stores that make no keys, are told by name', async () => {
    const { rows, users } = openUsers();
    await expect(users.create(null as never)).rejects.toBeInstanceOf(InvalidOptionError);
    await expect(users.create({ name: 'x' }, { ifVersion: 2 } as never)).rejects.toThrow('options.ifVersion');
    await expect(users.create({ name: 'x' }, { signal: AbortSignal.abort() })).rejects.toThrow('aborted');
    expect(rows.keys()).toEqual([]);
    const { products } = openShop();
    const refused = products.create(LAMP);
    await expect(refused).rejects.toBeInstanceOf(UnsupportedError);
    await expect(refused).rejects.toThrow('"products": shop:products has no keys of its own making');
  });

  test('whoever gives up before the key is drawn has written nothing', async () => {
    const { rows, storePlan, users } = openUsers();
    const drawing = storePlan.pauseNext('newRows');
    const giveUp = new AbortController();
    const creating = users.create({ name: 'Ada' }, { signal: giveUp.signal });
    await drawing.reached;
    giveUp.abort(new Error('enough'));
    await expect(creating).rejects.toThrow('enough');
    drawing.release();
    await turns();
    expect(rows.keys()).toEqual([]);
  });

  test('keys that could not be drawn are the store’s failure, and nothing is written', async () => {
    const { rows, storePlan, users } = openUsers();
    storePlan.next('newRows', refuse(new Error('socket hang up')));
    await expect(users.create({ name: 'Ada' })).rejects.toMatchObject({
      code: 'LOCKSTEP_STORE_UNAVAILABLE',
      outcome: 'not-committed',
    });
    expect(rows.keys()).toEqual([]);
  });
});

interface Note {
  readonly text: string;
  readonly revision: number;
}

function openNotes(
  more: Partial<CallbackStoreOptions<Note>>,
  options: Partial<CollectionOptions<Note>> = {},
) {
  const clock = manualClock();
  const notes = new Map<string, Note>();
  const store = callbackStore<Note>({
    read: async (id) => notes.get(id),
    create: async (value) => {
      const id = `n${notes.size + 1}`;
      notes.set(id, { ...value, revision: 1 });
      return { id, value: { ...value, revision: 1 } };
    },
    ...more,
  });
  const lockstep = createLockstep({ cache: memoryCache({ clock }), clock, random: () => 0.5 });
  return { notes, lockstep, collection: lockstep.collection({ name: 'notes', store, ...options }) };
}

describe('create through a callback store', () => {
  test.each([
    ['without versions', {}, 0],
    ['with versions', { version: (note: Note) => note.revision }, 1],
  ])(
    '%s: the row comes back, its absence is known no more, and the next reader fills',
    async (_, more, version) => {
      const { collection, lockstep } = openNotes(more);
      expect(await collection.get('n1')).toBeUndefined();
      await lockstep.drain();
      expect(await collection.getVersioned('n1')).toMatchObject({ value: null, from: 'cache' });
      expect(await collection.create({ text: 'x' })).toEqual({
        value: { text: 'x', revision: 1 },
        version,
        cache: 'invalidated',
        store: 'committed',
        coalesced: false,
      });
      expect(await collection.get('n1')).toEqual({ text: 'x', revision: 1 });
      await lockstep.drain();
      expect(await collection.getVersioned('n1')).toMatchObject({ value: { text: 'x' }, from: 'cache' });
    },
  );

  test('what the function throws or gives wrong is told; a strict collection takes none', async () => {
    const fails = openNotes({ create: async () => Promise.reject(new StoreRefusedError('full')) });
    await expect(fails.collection.create({ text: 'x' })).rejects.toThrow('full');
    const odd = openNotes({ create: async () => ({ id: 5 }) as never });
    await expect(odd.collection.create({ text: 'x' })).rejects.toMatchObject({
      code: 'LOCKSTEP_STORE_CONTRACT',
    });
    const strict = openNotes({}, { consistency: 'strict' });
    await expect(strict.collection.create({ text: 'x' })).rejects.toMatchObject({
      code: 'LOCKSTEP_UNSUPPORTED',
    });
    expect(strict.notes.size).toBe(0);
  });
});

describe('a read-only callback store', () => {
  test('reads, and refuses every write at once, with what is cached left alone', async () => {
    const notes = new Map([['a', { text: 'x', revision: 1 }]]);
    const { collection, lockstep } = openNotes({
      read: async (id) => notes.get(id),
      create: undefined as never,
    });
    expect(await collection.get('a')).toEqual({ text: 'x', revision: 1 });
    await lockstep.drain();
    const note = { text: 'y', revision: 2 };
    const writes = [
      () => collection.put('a', note),
      () => collection.delete('a'),
      () => collection.patch('a', { text: 'y' }),
      () => collection.increment('a', 'revision', 1),
      () => collection.update('a', () => note),
      () => collection.write('a', async () => undefined),
      () => collection.create(note),
    ];
    for (const write of writes) {
      const refused = write();
      await expect(refused).rejects.toBeInstanceOf(UnsupportedError);
      await expect(refused).rejects.toThrow('"notes": callback has no functions that write: it is read-only');
    }
    expect(await collection.getVersioned('a')).toMatchObject({ value: { text: 'x' }, from: 'cache' });
    await collection.invalidate('a');
    notes.set('a', note);
    expect(await collection.get('a')).toEqual(note);
  });
});
