import { afterEach, describe, expect, test, vi } from 'vitest';
import { manualClock } from '../../src/faults/index.js';
import { memoryCache, memoryDatabase, memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';

interface Person {
  readonly email: string;
}

const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const each of opened.splice(0)) await each.close();
});

/** People whose e-mails are unique, written behind. */
function open() {
  const clock = manualClock();
  const database = memoryDatabase({ clock, feedGraceMs: 0 });
  const cache = memoryCache({ clock });
  const people = memoryStore<Person>({ name: 'people', database, unique: ['email'] });
  const join = () => {
    const lockstep = createLockstep({ cache, clock });
    opened.push(lockstep);
    const refused: string[] = [];
    lockstep.events.on('flushRefused', ({ collection, key }) => refused.push(`${collection} ${key}`));
    return {
      lockstep,
      refused,
      people: lockstep.collection<Person>({ name: 'people', store: people, strategy: 'write-behind' }),
    };
  };
  return { clock, database, people, join };
}

/** Lets time pass until it holds. */
async function until(shop: ReturnType<typeof open>, holds: () => Promise<unknown> | unknown): Promise<void> {
  await vi.waitFor(
    async () => {
      await shop.clock.advance(50);
      await holds();
    },
    { timeout: 60_000, interval: 1 },
  );
}

const emails = async (
  shop: ReturnType<typeof open>,
  ids: readonly string[],
): Promise<(string | undefined)[]> => {
  const rows = await shop.people.read(ids, { timeoutMs: 1_000, primary: true });
  return rows.map((row) => row?.value.email);
};

/** A transaction that holds the rows until told. */
function holding(shop: ReturnType<typeof open>, keys: readonly string[]) {
  const held = Promise.withResolvers<void>();
  const over = Promise.withResolvers<void>();
  const done = shop.database.transactions.transaction(
    async (tx) => {
      for (const key of keys) {
        await (tx.client as { delete(table: string, key: string): Promise<boolean> }).delete('people', key);
      }
      held.resolve();
      await over.promise;
      throw new Error('given back');
    },
    { timeoutMs: 3_600_000 },
  );
  const settled = done.catch(() => undefined);
  return {
    held: held.promise,
    release: async () => {
      over.resolve();
      await settled;
    },
  };
}

describe('a buffered write that the store refuses because of another row', () => {
  test('is tried again behind the write that lifts the refusal', async () => {
    const shop = open();
    const { lockstep, people, refused } = shop.join();
    await people.put('giver', { email: 'a' });
    await people.put('taker', { email: 'b' });
    await until(shop, async () => expect(await emails(shop, ['giver', 'taker'])).toEqual(['a', 'b']));
    const rows = holding(shop, ['giver']);
    await rows.held;
    await people.put('giver', { email: 'c' });
    await people.put('taker', { email: 'a' });
    await until(shop, async () => expect(await people.get('taker')).toEqual({ email: 'a' }));
    await shop.clock.advance(500);
    await rows.release();
    await until(shop, async () => expect(await emails(shop, ['giver', 'taker'])).toEqual(['c', 'a']));
    expect(refused).toEqual([]);
    await lockstep.drain();
  });

  test('of another process: the same', async () => {
    const shop = open();
    const [one, other] = [shop.join(), shop.join()];
    await one.people.put('giver', { email: 'a' });
    await one.people.put('taker', { email: 'b' });
    await until(shop, async () => expect(await emails(shop, ['giver', 'taker'])).toEqual(['a', 'b']));
    const rows = holding(shop, ['giver']);
    await rows.held;
    await one.people.put('giver', { email: 'c' });
    await other.people.put('taker', { email: 'a' });
    // Longer than a process waits for those that it does not know.
    await until(shop, async () => expect(shop.clock.monotonic()).toBeGreaterThan(5_000));
    expect(other.refused).toEqual([]);
    await rows.release();
    await until(shop, async () => expect(await emails(shop, ['giver', 'taker'])).toEqual(['c', 'a']));
    expect([...one.refused, ...other.refused]).toEqual([]);
  });

  test('in a cycle ends as a refusal that is told, and what is left of it is stored', async () => {
    const shop = open();
    const { people, refused } = shop.join();
    await people.put('a', { email: 'a' });
    await people.put('b', { email: 'b' });
    await until(shop, async () => expect(await emails(shop, ['a', 'b'])).toEqual(['a', 'b']));
    const rows = holding(shop, ['a', 'b']);
    await rows.held;
    await people.put('a', { email: 'b' });
    await people.put('b', { email: 'a' });
    await rows.release();
    await until(shop, () => expect(new Set(refused)).toEqual(new Set(['people a', 'people b'])));
    expect(await emails(shop, ['a', 'b'])).toEqual(['a', 'b']);
    expect(await people.getMany(['a', 'b'])).toEqual([{ email: 'a' }, { email: 'b' }]);
  });

  test('for good, with nothing else unflushed, is told within seconds', async () => {
    const shop = open();
    const { people, refused } = shop.join();
    await people.put('owner', { email: 'a' });
    await people.put('late', { email: 'b' });
    await until(shop, async () => expect(await emails(shop, ['owner', 'late'])).toEqual(['a', 'b']));
    await people.put('late', { email: 'a' });
    const startedMs = shop.clock.monotonic();
    await until(shop, () => expect(refused).toEqual(['people late']));
    expect(shop.clock.monotonic() - startedMs).toBeLessThan(10_000);
    expect(await emails(shop, ['owner', 'late'])).toEqual(['a', 'b']);
  });
});

test('a write past the buffer that another’s buffered write would allow is tried again behind it', async () => {
  const shop = open();
  const behind = shop.join();
  await behind.people.put('giver', { email: 'a' });
  await until(shop, async () => expect(await emails(shop, ['giver'])).toEqual(['a']));
  await behind.people.put('giver', { email: 'c' });
  // Conditional: it goes to the store at once.
  const written = await behind.people.put('taker', { email: 'a' }, { ifVersion: null });
  expect(written.store).toBe('committed');
  expect(await emails(shop, ['giver', 'taker'])).toEqual(['c', 'a']);
});

describe('a transaction and the flush of what it reads', () => {
  test('a flush that waits for its row does not keep it from reading another', async () => {
    const shop = open();
    const { lockstep, people } = shop.join();
    await people.put('held', { email: 'h' });
    await people.put('read', { email: 'r' });
    await until(shop, async () => expect(await emails(shop, ['held', 'read'])).toEqual(['h', 'r']));
    const locked = Promise.withResolvers<void>();
    const buffered = Promise.withResolvers<void>();
    const startedMs = shop.clock.monotonic();
    const running = lockstep.transaction(async (tx) => {
      await people.put('held', { email: 'tx' }, { tx });
      locked.resolve();
      await buffered.promise;
      return await people.get('read', { tx });
    });
    await locked.promise;
    await Promise.all([people.put('held', { email: 'h2' }), people.put('read', { email: 'r2' })]);
    buffered.resolve();
    let found: Person | undefined;
    void running.then((row) => {
      found = row;
    });
    await until(shop, () => expect(found).toEqual({ email: 'r2' }));
    expect(shop.clock.monotonic() - startedMs).toBeLessThan(3_000);
  });

  test('a row that it changed by its own statements is flushed in it, not waited for', async () => {
    const shop = open();
    const { lockstep, people } = shop.join();
    await people.put('own', { email: 'o' });
    await until(shop, async () => expect(await emails(shop, ['own'])).toEqual(['o']));
    const locked = Promise.withResolvers<void>();
    const buffered = Promise.withResolvers<void>();
    const startedMs = shop.clock.monotonic();
    const running = lockstep.transaction(async (tx) => {
      await (tx.client as { set(table: string, key: string, row: Person): Promise<void> }).set(
        'people',
        'own',
        { email: 'raw' },
      );
      locked.resolve();
      await buffered.promise;
      return await people.get('own', { tx });
    });
    await locked.promise;
    await people.put('own', { email: 'buffered' });
    buffered.resolve();
    let found: Person | undefined;
    void running.then((row) => {
      found = row;
    });
    await until(shop, () => expect(found).toBeDefined());
    expect(shop.clock.monotonic() - startedMs).toBeLessThan(5_000);
    await until(shop, async () =>
      expect(await emails(shop, ['own'])).toEqual([(await people.get('own'))?.email]),
    );
  });
});
