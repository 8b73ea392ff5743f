import { describe, expect, test } from 'vitest';
import type { CollectionOptions, LockstepOptions } from '../../src/contracts/options.js';
import { InvalidIdError, InvalidOptionError, StoreUnavailableError } from '../../src/errors.js';
import {
  type CacheCalls,
  faultPlan,
  faultyCache,
  faultyQueue,
  faultyStore,
  manualClock,
  type QueueCalls,
  refuse,
  type StoreCalls,
} from '../../src/faults/index.js';
import {
  type MemoryTx,
  memoryCache,
  memoryDatabase,
  memoryQueue,
  memoryStore,
} from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { callbackStore } from '../../src/stores/callback-store.js';
import { carries, elapse, turns } from '../support/shop.js';

interface User {
  readonly email?: string | null;
  readonly tenant?: number;
  readonly slug?: string;
  readonly visits?: number;
}

const ANN: User = { email: 'ann@x', tenant: 1, slug: 'ann' };
const BOB: User = { email: 'bob@x', tenant: 1, slug: 'bob' };
const UNIQUE = ['email', ['tenant', 'slug']] as const;

function openUsers(
  options: { collection?: Partial<CollectionOptions<User>>; lockstep?: Partial<LockstepOptions> } = {},
) {
  const clock = manualClock();
  const memory = memoryCache({ clock });
  const database = memoryDatabase({ clock, feedGraceMs: 0 });
  const rows = memoryStore<User>({ name: 'users', database, unique: UNIQUE });
  const cachePlan = faultPlan<CacheCalls>({ clock });
  const storePlan = faultPlan<StoreCalls>({ clock });
  const queuePlan = faultPlan<QueueCalls>({ clock });
  const jobs = memoryQueue({ clock, random: () => 0.5 });
  const cache = faultyCache(memory, cachePlan);
  const join = (more: Partial<CollectionOptions<User>> = {}) => {
    const queue = faultyQueue(jobs, queuePlan);
    const lockstep = createLockstep({ cache, queue, clock, random: () => 0.5, ...options.lockstep });
    const store = faultyStore(rows, storePlan);
    const users = lockstep.collection({
      name: 'users',
      store,
      unique: UNIQUE,
      ...options.collection,
      ...more,
    });
    return { lockstep, users };
  };
  return { clock, memory, database, rows, cachePlan, storePlan, queuePlan, join, ...join() };
}

type World = ReturnType<typeof openUsers>;

/** Looks a value up, and waits until it is cached what came of it. */
async function warm({ users }: Pick<World, 'users'>, email = 'ann@x'): Promise<User | undefined> {
  const found = await users.getBy('email', email);
  await turns();
  return found;
}

describe('getBy', () => {
  test('finds a row by what it has, and the next time by the cache alone', async () => {
    const world = openUsers();
    await world.users.put('1', ANN);
    expect(await warm(world)).toEqual(ANN);
    expect(await world.users.getBy(['tenant', 'slug'], { tenant: 1, slug: 'ann' })).toEqual(ANN);
    await turns();
    world.storePlan.always('find', refuse());
    world.storePlan.always('read', refuse());
    expect(await world.users.getBy('email', 'ann@x')).toEqual(ANN);
    expect(await world.users.getBy(['tenant', 'slug'], { slug: 'ann', tenant: 1 })).toEqual(ANN);
  });

  test('a write that changes nothing leaves what leads to its row', async () => {
    const world = openUsers();
    await world.users.put('1', ANN);
    await warm(world);
    expect(await world.users.write('1', async () => {})).toMatchObject({ value: ANN, cache: 'updated' });
    expect(await world.users.write('2', async () => {})).toMatchObject({ value: null, cache: 'invalidated' });
    world.storePlan.always('find', refuse());
    expect(await world.users.getBy('email', 'ann@x')).toEqual(ANN);
  });

  test('one look at the store, however many ask (G8)', async () => {
    const world = openUsers();
    await world.users.put('1', ANN);
    const second = world.join();
    const asking = [world, world, second, second].map(({ users }) => users.getBy('email', 'ann@x'));
    expect(await elapse(world.clock, Promise.all(asking))).toEqual([ANN, ANN, ANN, ANN]);
    expect(world.storePlan.calls('find')).toBe(1);
  });

  test('remembers that there is none, until there is one (G2)', async () => {
    const world = openUsers();
    expect(await warm(world)).toBeUndefined();
    world.storePlan.next('find', refuse());
    expect(await warm(world)).toBeUndefined();
    world.storePlan.clear();
    const second = world.join();
    await second.users.put('2', BOB);
    expect(await second.users.put('1', ANN)).toMatchObject({ cache: 'updated' });
    expect(await world.users.getBy('email', 'ann@x')).toEqual(ANN);
  });

  const WRITES = {
    put: ({ users }: World) => users.put('1', { ...ANN, email: 'new@x' }),
    patch: ({ users }: World) => users.patch('1', { email: 'new@x' }),
    update: ({ users }: World) => users.update('1', (row) => ({ ...row, email: 'new@x' })),
    write: ({ users }: World) =>
      users.write('1', async (tx) => (tx as MemoryTx).set('users', '1', { ...ANN, email: 'new@x' })),
    transaction: ({ lockstep }: World) =>
      lockstep.transaction(
        async (tx) => await (tx.client as MemoryTx).set('users', '1', { ...ANN, email: 'new@x' }),
      ),
  };

  test.each(Object.entries(WRITES))(
    'G2: after a %s the row is found by what it has now alone',
    async (_, write) => {
      const world = openUsers();
      await world.users.put('1', ANN);
      await warm(world);
      await warm(world, 'new@x');
      const second = world.join();
      expect(await warm(second, 'new@x')).toBeUndefined();
      await write(world as never);
      for (const each of [world, second]) {
        expect(await each.users.getBy('email', 'ann@x')).toBeUndefined();
        expect(await each.users.getBy('email', 'new@x')).toMatchObject({ email: 'new@x' });
      }
      expect(await world.rows.feed.status(['users'])).toMatchObject({ pending: 0 });
    },
  );

  test('two rows that swap a value are each found by what they have', async () => {
    const world = openUsers();
    await world.users.put('1', ANN);
    await world.users.put('2', BOB);
    await warm(world);
    await warm(world, 'bob@x');
    await world.users.patch('2', { email: null });
    await world.users.patch('1', { email: 'bob@x' });
    await world.users.patch('2', { email: 'ann@x' });
    expect(await world.users.getBy('email', 'ann@x')).toMatchObject({ slug: 'bob' });
    expect(await world.users.getBy('email', 'bob@x')).toMatchObject({ slug: 'ann' });
  });

  test('a pointer to a row that lost the value behind the cache’s back is not believed', async () => {
    const world = openUsers();
    await world.users.put('1', ANN);
    await warm(world);
    await world.users.put('1', { ...ANN, email: 'other@x' });
    // Back in the cache, as a late message could not bring it; a deferred invalidation would leave it.
    const lost = world.cachePlan;
    lost.always('execute', async (call) => {
      const keep = call.input.filter(({ kind, key }) => !(kind === 'invalidate' && key.includes('%by-')));
      return keep.length === call.input.length
        ? await call.proceed()
        : call.input.map(() => new Error('lost'));
    });
    await warm(world, 'other@x');
    await world.rows.foreignWrite('1', { ...ANN, email: 'third@x' });
    lost.clear();
    await world.users.invalidate('1');
    expect(await world.users.getBy('email', 'other@x')).toBeUndefined();
    expect(await world.users.getBy('email', 'third@x')).toMatchObject({ email: 'third@x' });
  });

  test('a deleted row is not found, and its successor is', async () => {
    const world = openUsers();
    await world.users.put('1', ANN);
    await warm(world);
    await world.users.delete('1');
    expect(await world.users.getBy('email', 'ann@x')).toBeUndefined();
    await world.users.put('9', ANN);
    expect(await world.users.getBy('email', 'ann@x')).toEqual(ANN);
  });

  test('a load that began before a write fills nothing (G3)', async () => {
    const world = openUsers();
    await world.users.put('2', BOB);
    const gate = world.storePlan.pauseNext('find', { at: 'after' });
    const late = world.users.getBy('email', 'ann@x');
    await gate.reached;
    await world.users.put('1', ANN);
    gate.release();
    expect(await late).toBeUndefined();
    await turns();
    expect(await world.users.getBy('email', 'ann@x')).toEqual(ANN);
  });

  test('strict: absence is not remembered', async () => {
    const world = openUsers({ collection: { consistency: 'strict' } });
    expect(await warm(world)).toBeUndefined();
    expect(await warm(world)).toBeUndefined();
    expect(world.storePlan.calls('find')).toBe(2);
    await world.users.put('1', ANN);
    expect(await warm(world)).toEqual(ANN);
    expect(await warm(world)).toEqual(ANN);
    expect(world.storePlan.calls('find')).toBe(3);
  });

  test('with integrity: a forged pointer, or absence, is not believed', async () => {
    const integrity = { keys: [{ id: 'a', secret: 's'.repeat(32) }] };
    const world = openUsers({ lockstep: { integrity } });
    await world.users.put('1', ANN);
    await world.users.put('2', BOB);
    expect(await warm(world)).toEqual(ANN);
    const forge = { version: 0, ttlMs: 60_000, staleAtMs: 0 } as const;
    await world.memory.execute([
      { kind: 'refresh', key: 'wtc:users%by-email:=sann@x', ...forge, payload: '"2"' },
    ]);
    expect(await world.users.getBy('email', 'ann@x')).toEqual(ANN);
  });

  test('inside a transaction it reads there, and fills nothing', async () => {
    const world = openUsers();
    await world.lockstep.transaction(async (tx) => {
      await world.users.put('1', ANN, { tx });
      expect(await world.users.getBy('email', 'ann@x', { tx })).toEqual(ANN);
      expect(await world.users.getManyBy('email', ['no@x', 'ann@x'], { tx })).toEqual([undefined, ANN]);
      expect(await world.users.getBy('email', 'ann@x')).toBeUndefined();
    });
    expect(await world.users.getBy('email', 'ann@x')).toEqual(ANN);
  });

  test('fresh: asks the primary for both', async () => {
    const world = openUsers();
    await world.users.put('1', ANN);
    await warm(world);
    const finds = world.storePlan.calls('find');
    expect(await world.users.getBy('email', 'ann@x', { fresh: true })).toEqual(ANN);
    expect(world.storePlan.calls('find')).toBe(finds + 1);
  });

  test('the store is away: an expired pointer is followed to an expired row', async () => {
    const world = openUsers({ collection: { ttlMs: 1_000, ttlJitter: 0, staleIfErrorMs: 60_000 } });
    await world.users.put('1', ANN);
    expect(await warm(world)).toEqual(ANN);
    world.clock.advance(2_000);
    world.storePlan.always('find', refuse());
    world.storePlan.always('read', refuse());
    expect(await world.users.getBy('email', 'ann@x')).toEqual(ANN);
    await expect(world.users.getBy('email', 'no@x')).rejects.toThrow(StoreUnavailableError);
  });

  test('switched off: the store answers, and what is written meanwhile is found once it is on again', async () => {
    const world = openUsers();
    await world.users.put('2', BOB);
    expect(await warm(world)).toBeUndefined();
    world.lockstep.enabled = false;
    await turns();
    expect(await warm(world, 'bob@x')).toEqual(BOB);
    await world.users.put('1', ANN);
    expect(await warm(world)).toEqual(ANN);
    world.lockstep.enabled = true;
    await turns();
    expect(await world.users.getBy('email', 'ann@x')).toEqual(ANN);
    await world.users.put('1', { ...ANN, email: 'new@x' });
    expect(await world.users.getBy('email', 'ann@x')).toBeUndefined();
  });

  test('the cache is away: the store answers', async () => {
    const world = openUsers();
    await world.users.put('1', ANN);
    world.cachePlan.always('execute', refuse());
    world.cachePlan.always('read', refuse());
    expect(await world.users.getBy('email', 'ann@x')).toEqual(ANN);
    expect(await world.users.getBy('email', 'no@x')).toBeUndefined();
  });
});

describe('getManyBy', () => {
  test('position by position, with one question for what is not cached', async () => {
    const world = openUsers();
    await world.users.putMany([
      ['1', ANN],
      ['2', BOB],
    ]);
    await warm(world);
    const finds = world.storePlan.calls('find');
    const emails = ['no@x', 'bob@x', 'ann@x', 'bob@x'];
    expect(await world.users.getManyBy('email', emails)).toEqual([undefined, BOB, ANN, BOB]);
    expect(world.storePlan.calls('find')).toBe(finds + 1);
    await turns();
    world.storePlan.always('find', refuse());
    expect(await world.users.getManyBy('email', emails)).toEqual([undefined, BOB, ANN, BOB]);
  });

  test('follows values that went to another row meanwhile', async () => {
    const world = openUsers();
    await world.users.putMany([
      ['1', ANN],
      ['2', BOB],
    ]);
    await world.users.getManyBy('email', ['ann@x', 'bob@x']);
    await turns();
    await world.users.put('1', { ...ANN, email: null });
    await world.users.put('2', { ...BOB, email: 'ann@x' });
    expect(await world.users.getManyBy('email', ['ann@x', 'bob@x'])).toMatchObject([
      { slug: 'bob' },
      undefined,
    ]);
  });
});

describe('pointers and what others write', () => {
  test('a foreign write is brought in step by the relay (G6)', async () => {
    const world = openUsers();
    await world.users.put('1', ANN);
    await warm(world);
    expect(await warm(world, 'new@x')).toBeUndefined();
    const relay = world.lockstep.startRelay();
    await world.rows.foreignWrite('1', { ...ANN, email: 'new@x' });
    await turns(50);
    expect(await world.users.getBy('email', 'new@x')).toMatchObject({ email: 'new@x' });
    expect(await world.users.getBy('email', 'ann@x')).toBeUndefined();
    await relay.stop();
  });

  test('what the cache did not take is not acknowledged: the relay does it (G4, G5)', async () => {
    const world = openUsers();
    expect(await warm(world)).toBeUndefined();
    world.cachePlan.next(
      'execute',
      async (call) => {
        const replies = await call.proceed();
        return replies.map((reply, i) => (call.input[i]?.key.includes('%by-') ? new Error('moved') : reply));
      },
      carries('put'),
    );
    // The reply was lost; the pointer is put back as if the message had been, too.
    expect(await world.users.put('1', ANN)).toMatchObject({ cache: 'deferred' });
    expect(await world.rows.feed.status(['users'])).toMatchObject({ pending: 1 });
    const relay = world.lockstep.startRelay();
    await turns(50);
    expect(await world.rows.feed.status(['users'])).toMatchObject({ pending: 0 });
    expect(await world.users.getBy('email', 'ann@x')).toEqual(ANN);
    await relay.stop();
  });

  test('a pointer that a part of the cache did not take goes to the queue, whose job is done', async () => {
    const world = openUsers();
    await world.users.put('2', BOB);
    expect(await warm(world)).toBeUndefined();
    const relay = world.lockstep.startRelay();
    await turns();
    world.cachePlan.next(
      'execute',
      async (call) => {
        const pointers = call.input.map(({ key }) => key.includes('%by-'));
        const rest = call.input.filter((_, i) => !pointers[i]);
        const replies = [...(await world.memory.execute(rest))];
        return pointers.map((failed) => (failed ? new Error('moved') : (replies.shift() as never)));
      },
      { when: (commands) => commands.some(({ key }) => key.includes('%by-email:=sann@x')) },
    );
    await world.rows.foreignWrite('1', ANN);
    await turns(50);
    expect(relay.status()).toMatchObject({ queued: 2 });
    const consumer = await world.lockstep.queue?.consume((job) => world.lockstep.handleJob(job));
    await turns(50);
    expect(await world.users.getBy('email', 'ann@x')).toEqual(ANN);
    await consumer?.close();
    await relay.stop();
  });

  test('a process that does not declare the index keeps it in step all the same', async () => {
    const world = openUsers();
    expect(await warm(world)).toBeUndefined();
    const plain = world.join({ unique: [] as never });
    world.clock.advance(4_000);
    await plain.users.get('1');
    expect(await plain.users.put('1', ANN)).toMatchObject({ cache: 'updated' });
    expect(await world.users.getBy('email', 'ann@x')).toEqual(ANN);
  });

  test('an index that is declared later fills nothing until every writer knows of it', async () => {
    const world = openUsers({ collection: { unique: [] as never } });
    await world.users.put('2', BOB);
    const late = world.join({ unique: UNIQUE });
    expect(await warm(late)).toBeUndefined();
    expect(await world.users.put('1', ANN)).toMatchObject({ cache: expect.any(String) as string });
    expect(await late.users.getBy('email', 'ann@x')).toEqual(ANN);
    world.clock.advance(3_300);
    await warm(late);
    const finds = world.storePlan.calls('find');
    await warm(late);
    expect(world.storePlan.calls('find')).toBe(finds);
  });

  test('invalidateAll makes them unreadable, too', async () => {
    const world = openUsers();
    expect(await warm(world)).toBeUndefined();
    // Past every trigger: a restore.
    const other = memoryStore<User>({ name: 'users', database: world.database, unique: UNIQUE });
    world.cachePlan.always('execute', refuse());
    await other.foreignWrite('1', ANN);
    world.cachePlan.clear();
    expect(await warm(world)).toBeUndefined();
    await world.users.invalidateAll();
    expect(await world.users.getBy('email', 'ann@x')).toEqual(ANN);
  });
});

describe('wrong calls and options', () => {
  test('name the index, or the value', async () => {
    const { users } = openUsers();
    await expect(users.getBy('visits' as never, 1 as never)).rejects.toThrow(
      /\(visits\) is not among .*\(email\), \(tenant, slug\)/,
    );
    await expect(users.getBy('email', null as never)).rejects.toThrow(InvalidIdError);
    await expect(users.getBy(['tenant', 'slug'], { tenant: 1 } as never)).rejects.toThrow(
      /\(tenant, slug\) must not be null/,
    );
    await expect(users.getBy(['tenant', 'slug'], 'x' as never)).rejects.toThrow(/must be an object/);
    await expect(users.getBy('email', {} as never)).rejects.toThrow(InvalidIdError);
    await expect(users.getBy('email', 'x'.repeat(501))).rejects.toThrow(/too long/);
    await expect(users.getManyBy('email', ['a', undefined as never])).rejects.toThrow(InvalidIdError);
  });

  test('at definition: a buffer, a store that tells nothing, what is no index', () => {
    const define = (options: object) => () => openUsers({ collection: options });
    expect(define({ strategy: 'write-behind' })).toThrow(/unique.*buffer/);
    expect(define({ burst: {} })).toThrow(/unique.*buffer/);
    for (const unique of ['email', [[]], [['email', 'email']], [1], [['email'], 'email']]) {
      expect(define({ unique })).toThrow(InvalidOptionError);
    }
    const lockstep = createLockstep({ cache: memoryCache() });
    const store = callbackStore({ read: async () => ANN, write: async () => undefined });
    expect(() => lockstep.collection({ name: 'x', store, unique: ['email'] })).toThrow(
      /unique.*tells values/,
    );
  });

  test('at the first call: what the store does not say is unique', async () => {
    const { users } = openUsers({ collection: { unique: ['slug'] as never } });
    await expect(users.get('1')).rejects.toThrow(/slug is unique/);
  });
});
