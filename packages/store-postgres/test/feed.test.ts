import type { Change, FeedConsumeOptions } from '@lockstep/core';
import type { Knex } from 'knex';
import { beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { FeedOptions, PostgresStore, PostgresTable } from '../src/index.js';
import { CALL, positionsOf, testServer } from './support/database.js';

interface Item {
  readonly id: number;
  readonly n: number;
}

const server = testServer();
const SOURCE = 'public.items';
const PATIENCE = { timeout: 60_000, interval: 5 } as const;
let knex: Knex;
let pg: PostgresStore;
let items: PostgresTable<Item, number>;
let lastId = 0;

beforeAll(async () => {
  ({ knex, pg } = server.store());
  await knex.raw('CREATE TABLE items (id int PRIMARY KEY, n int)');
  items = pg.table<Item, number>('items', { key: 'id' });
  await pg.attach(items);
  await items.open();
});

beforeEach(async () => {
  await knex.raw('DELETE FROM lockstep.outbox');
});

async function put(count = 1): Promise<Change[]> {
  const outcomes = await items.write(
    Array.from({ length: count }, () => ({
      kind: 'put' as const,
      key: String(++lastId),
      value: { id: lastId, n: 1 },
      above: 0,
    })),
    CALL,
  );
  return outcomes.map((outcome) => {
    if (outcome.kind !== 'written') throw new Error(JSON.stringify(outcome));
    const key = String(outcome.value?.id);
    return { source: SOURCE, key, version: outcome.version, op: 'put', changedAtMs: 0 };
  });
}

async function foreign(): Promise<string> {
  await knex.raw('INSERT INTO items VALUES (?, 1)', [++lastId]);
  return String(lastId);
}

async function pending(): Promise<number> {
  const { rows } = await knex.raw<{ rows: { n: number }[] }>(
    'SELECT count(*)::int AS n FROM lockstep.outbox',
  );
  return rows[0]?.n ?? 0;
}

/** Consumes until `stop`. */
function consumer(
  feed: FeedOptions,
  handler: (changes: readonly Change[]) => Promise<void> | void = () => undefined,
  options: Partial<FeedConsumeOptions> = {},
) {
  const { pg: store } = server.store({ feed });
  const taken: Change[] = [];
  const errors: unknown[] = [];
  const abort = new AbortController();
  const done = store.feed.consume(
    async (changes) => {
      await handler(changes);
      taken.push(...changes);
    },
    { sources: [SOURCE], onError: (error) => errors.push(error), ...options, signal: abort.signal },
  );
  return {
    taken,
    errors,
    stop: async (): Promise<void> => {
      abort.abort();
      await done;
      await store.close();
    },
  };
}

const listeners = async (): Promise<number[]> => {
  const { rows } = await knex.raw<{ rows: { pid: number }[] }>(
    `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query = 'LISTEN lockstep'`,
  );
  return rows.map(({ pid }) => pid);
};

describe('the feed', () => {
  test('leaves our own changes to their writer for the grace, then hands them over (G4)', async () => {
    const reader = consumer({ graceMs: 60_000, pollMs: 10 });
    const late = consumer({ graceMs: 400, pollMs: 10 });
    const started = performance.now();
    const [own] = await put();
    const other = await foreign();
    try {
      await vi.waitFor(
        () => expect([...reader.taken, ...late.taken].map(({ key }) => key)).toContain(other),
        PATIENCE,
      );
      await vi.waitFor(
        () =>
          expect(late.taken).toContainEqual(
            expect.objectContaining({ key: own?.key, version: own?.version }),
          ),
        PATIENCE,
      );
      expect(performance.now() - started).toBeGreaterThan(350);
      expect(reader.taken.map(({ key }) => key)).not.toContain(own?.key);
    } finally {
      await Promise.all([reader.stop(), late.stop()]);
    }
  });

  test('what its writer acknowledged is not handed over; a newer change of the row still is', async () => {
    const changes = await put(20);
    pg.feed.acknowledge(changes);
    await knex.raw('UPDATE items SET n = 2 WHERE id = ?', [changes[0]?.key ?? '']);
    await vi.waitFor(async () => expect(await pending()).toBe(1), PATIENCE);
    const reader = consumer({ pollMs: 10 });
    await vi.waitFor(async () => expect(await pending()).toBe(0), PATIENCE);
    await reader.stop();
    expect(reader.taken).toMatchObject([{ key: changes[0]?.key }]);
    expect(reader.taken[0]?.version).toBeGreaterThan(changes[0]?.version ?? 0);
  });

  test('close sends the acknowledgements that wait', async () => {
    const { pg: store } = server.store({ feed: { acknowledgeMs: 60_000 } });
    store.feed.acknowledge([...(await put()), ...(await put())]);
    await store.close();
    expect(await pending()).toBe(0);
    store.feed.acknowledge(await put());
    expect(await pending()).toBe(1);
  });

  test('acknowledgements that wait are bounded: the oldest is forgotten', async () => {
    const { pg: store } = server.store({ feed: { acknowledgeMs: 60_000, maxAcknowledgements: 2 } });
    for (let n = 0; n < 5; n++) store.feed.acknowledge(await put());
    await store.close();
    expect(await pending()).toBe(3);
  });

  test('a batch is one row, and goes once each of its changes is acknowledged', async () => {
    const [first, ...others] = await put(5);
    const alone = await put();
    expect(await pending()).toBe(2);
    const status = await server.store({ feed: { graceMs: 0 } }).pg.feed.status([SOURCE]);
    expect(status.pending).toBe(6);
    if (first === undefined) throw new Error('nothing put');
    pg.feed.acknowledge([...others, ...alone]);
    await vi.waitFor(async () => expect(await pending()).toBe(1), PATIENCE);
    pg.feed.acknowledge([first]);
    await vi.waitFor(async () => expect(await pending()).toBe(0), PATIENCE);
  });

  test('a batch acknowledged in part is handed over in whole, in slices that the handler asked for', async () => {
    const changes = await put(7);
    pg.feed.acknowledge(changes.slice(0, 3));
    const sizes: number[] = [];
    const reader = consumer(
      { graceMs: 0, pollMs: 10 },
      (slice) => {
        sizes.push(slice.length);
      },
      { batchSize: 3 },
    );
    await vi.waitFor(async () => expect(await pending()).toBe(0), PATIENCE);
    await reader.stop();
    expect(sizes).toEqual([3, 3, 1]);
    expect(reader.taken.map(({ key, version, op }) => ({ key, version, op }))).toEqual(
      changes.map(({ key, version, op }) => ({ key, version, op })),
    );
  });

  test('an instance that does not know the rest of a batch removes nothing of it', async () => {
    const changes = await put(3);
    const { pg: store } = server.store({ feed: { acknowledgeMs: 60_000 } });
    store.feed.acknowledge(changes);
    await store.close();
    expect(await pending()).toBe(1);
  });

  test('an acknowledgement does not wait for a consumer that holds the row', async () => {
    const [entered, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const [held] = await put();
    const reader = consumer({ graceMs: 0, pollMs: 10 }, async () => {
      entered.resolve();
      await go.promise;
    });
    await entered.promise;
    const [free] = await put();
    const { pg: store } = server.store();
    store.feed.acknowledge([held, free].filter((change) => change !== undefined));
    await store.close();
    expect(await pending()).toBe(1);
    go.resolve();
    await vi.waitFor(async () => expect(await pending()).toBe(0), PATIENCE);
    await reader.stop();
  });

  test('a foreign write wakes a consumer that would not have looked for long (G6)', async () => {
    const reader = consumer({ pollMs: 60_000 });
    await vi.waitFor(async () => expect(await listeners()).toHaveLength(1), PATIENCE);
    const key = await foreign();
    await vi.waitFor(() => expect(reader.taken).toMatchObject([{ key }]), PATIENCE);
    // The listening connection comes back, and what happened meanwhile is not missed.
    await knex.raw(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = ANY (?)`, [
      await listeners(),
    ]);
    const missed = await foreign();
    await vi.waitFor(() => expect(reader.taken.map((change) => change.key)).toEqual([key, missed]), PATIENCE);
    await vi.waitFor(async () => expect(await listeners()).toHaveLength(1), PATIENCE);
    const again = await foreign();
    await vi.waitFor(
      () => expect(reader.taken.map((change) => change.key)).toEqual([key, missed, again]),
      PATIENCE,
    );
    await reader.stop();
    await vi.waitFor(async () => expect(await listeners()).toHaveLength(0), PATIENCE);
  });

  test('what a killed consumer held is handed over again (G9)', async () => {
    const entered = Promise.withResolvers<void>();
    const changes = await put(5);
    let killed = false;
    const doomed = consumer({ graceMs: 0, pollMs: 10, handlerTimeoutMs: 2000 }, async () => {
      entered.resolve();
      if (killed) throw new Error('dead');
      await new Promise<void>(() => undefined);
    });
    await entered.promise;
    const { rows } = await knex.raw<{ rows: { pid: number }[] }>(
      `SELECT pg_terminate_backend(pid), pid FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'`,
    );
    killed = true;
    expect(rows).toHaveLength(1);
    const heir = consumer({ graceMs: 0, pollMs: 10 });
    await vi.waitFor(
      () => expect(heir.taken.map(({ key }) => key).sort()).toEqual(changes.map(({ key }) => key).sort()),
      PATIENCE,
    );
    await heir.stop();
    await doomed.stop();
  });

  test('a handler that never ends loses its batch after a while, and its connection is free', async () => {
    const changes = await put(2);
    let stuck = 0;
    const reader = consumer({ graceMs: 0, pollMs: 10, handlerTimeoutMs: 200 }, async () => {
      if (stuck++ === 0) await new Promise<void>(() => undefined);
    });
    await vi.waitFor(() => expect(reader.taken).toHaveLength(changes.length), PATIENCE);
    expect(String(reader.errors[0])).toMatch(/handler took more than 200 ms/);
    await reader.stop();
  });

  test('consumers side by side lose nothing while writers commit out of order (G9)', async () => {
    const readers = [1, 2, 3].map(() => consumer({ graceMs: 0, pollMs: 10 }, undefined, { batchSize: 7 }));
    const expected: string[] = [];
    const slow = await knex.transaction();
    await slow.raw('INSERT INTO items VALUES (?, 1)', [++lastId]);
    expected.push(String(lastId));
    for (let round = 0; round < 10; round++) expected.push(...(await put(8)).map(({ key }) => key));
    const all = (): string[] => readers.flatMap(({ taken }) => taken.map(({ key }) => key));
    await vi.waitFor(() => expect(all()).toHaveLength(expected.length - 1), PATIENCE);
    await slow.commit();
    await vi.waitFor(() => expect(all().sort()).toEqual([...expected].sort()), PATIENCE);
    await Promise.all(readers.map((reader) => reader.stop()));
  });

  test('replay gives deletes, which no row tells of, and what nobody has taken yet', async () => {
    const positions = await positionsOf(pg, SOURCE);
    const [row, gone] = await put(2);
    const [deletion] = await items.write([{ kind: 'delete', key: gone?.key ?? '', above: 0 }], CALL);
    await knex.raw('DELETE FROM lockstep.outbox');
    const late = await foreign();
    const replayed: Change[] = [];
    const signal = new AbortController().signal;
    await pg.feed.replay(
      positions,
      async (changes) => {
        replayed.push(...changes);
      },
      { signal, sources: [SOURCE], batchSize: 1 },
    );
    const seen = replayed.filter(({ key }) => [row?.key, gone?.key, late].includes(key));
    expect(seen.sort((a, b) => a.version - b.version)).toMatchObject([
      { key: row?.key, version: row?.version, op: 'put' },
      { key: gone?.key, op: 'delete', version: deletion?.kind === 'written' ? deletion.version : 0 },
      { key: late, op: 'put' },
    ]);
  });

  test('tombstones go when no buffered write can be that late, and stay while they are ahead of the clock', async () => {
    const hour = 3_600_000_000;
    const now = Date.now() * 1000;
    for (const [key, version] of [
      ['old', now - 2 * hour],
      ['recent', now - hour / 2],
      ['ahead', now + 9 * hour],
    ]) {
      await knex.raw('INSERT INTO lockstep.tombstone VALUES (?, ?, ?)', [
        SOURCE,
        key as string,
        version as number,
      ]);
    }
    const reader = consumer({ pollMs: 10 });
    const left = async (): Promise<string[]> =>
      (
        await knex.raw<{ rows: { key: string }[] }>(
          `SELECT key FROM lockstep.tombstone WHERE key ~ '^[a-z]' ORDER BY version`,
        )
      ).rows.map(({ key }) => key);
    await vi.waitFor(async () => expect(await left()).toEqual(['recent', 'ahead']), PATIENCE);
    await reader.stop();
  });

  test('status leaves out what writers still have, and other tables', async () => {
    await put(3);
    await foreign();
    const { pg: store } = server.store({ feed: { graceMs: 60_000 } });
    expect(await store.feed.status([SOURCE])).toMatchObject({ pending: 1 });
    expect(await store.feed.status(['public.other'])).toEqual({ pending: 0, oldestMs: 0 });
  });
});

describe('transactions', () => {
  test('changes() gives what every statement changed, newest per key, savepoints included', async () => {
    const [kept, gone, fresh] = [++lastId, ++lastId, ++lastId];
    await put(0);
    await knex.raw('INSERT INTO items VALUES (?, 1), (?, 1)', [kept, gone]);
    const changes = await pg.transactions.transaction(async (tx) => {
      await items.write([{ kind: 'put', key: String(kept), value: { id: kept, n: 2 }, above: 0 }], {
        ...CALL,
        tx,
      });
      const trx = tx.client as Knex.Transaction;
      await trx.raw('UPDATE items SET n = 3 WHERE id = ?', [kept]);
      await trx.transaction(async (inner) => {
        await inner.raw('DELETE FROM items WHERE id = ?', [gone]);
      });
      await trx
        .transaction(async (inner) => {
          await inner.raw('INSERT INTO items VALUES (?, 1)', [fresh]);
          throw new Error('rolled back');
        })
        .catch(() => undefined);
      return tx.changes();
    }, CALL);
    const [row] = await items.read([String(kept)], { ...CALL, primary: true });
    expect(changes.map(({ key, op }) => [key, op])).toEqual([
      [String(kept), 'put'],
      [String(gone), 'delete'],
    ]);
    expect(changes[0]?.version).toBe(row?.version);
    // All of it counts as ours: consumers leave it alone for the grace.
    expect(changes.every(({ version }) => version % 4 === 2)).toBe(true);
  });

  test('one whose statement failed is not taken for committed', async () => {
    const committing = pg.transactions.transaction(async (tx) => {
      const trx = tx.client as Knex.Transaction;
      await trx.raw('INSERT INTO items VALUES (?, 1)', [++lastId]);
      await trx.raw('SELECT 1 / 0').catch(() => undefined);
    }, CALL);
    await expect(committing).rejects.toMatchObject({
      code: 'LOCKSTEP_STORE_REFUSED',
      cause: { code: 'LOCKSTEP_STORE_REFUSED', message: expect.stringContaining('22012') },
    });
  });

  test('a refused row of a batch fails alone inside a transaction too', async () => {
    const [good, bad] = [++lastId, ++lastId];
    const outcomes = await pg.transactions.transaction(
      (tx) =>
        items.write(
          [
            { kind: 'put', key: String(bad), value: { id: bad, n: 2 ** 40 }, above: 0 },
            { kind: 'put', key: String(good), value: { id: good, n: 1 }, above: 0 },
          ],
          { ...CALL, tx },
        ),
      CALL,
    );
    expect(outcomes.map(({ kind }) => kind)).toEqual(['failed', 'written']);
    const rows = await items.read([String(good), String(bad)], { ...CALL, primary: true });
    expect(rows.map((row) => row?.value.n)).toEqual([1, undefined]);
  });

  test('a deferred constraint that fails at commit refuses the transaction', async () => {
    await knex.raw(
      'CREATE TABLE strict (id int PRIMARY KEY, n int UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO strict VALUES (1, 1)',
    );
    const committing = pg.transactions.transaction(async (tx) => {
      await (tx.client as Knex.Transaction).raw('INSERT INTO strict VALUES (2, 1)');
    }, CALL);
    await expect(committing).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_REFUSED' });
  });

  test('a connection lost at the commit leaves the outcome open', async () => {
    const committing = pg.transactions.transaction(async (tx) => {
      const trx = tx.client as Knex.Transaction;
      const { rows } = await trx.raw<{ rows: { pid: number }[] }>('SELECT pg_backend_pid() AS pid');
      await knex.raw('SELECT pg_terminate_backend(?)', [rows[0]?.pid ?? 0]);
      await vi.waitFor(async () => {
        const alive = await knex.raw<{ rows: unknown[] }>('SELECT 1 FROM pg_stat_activity WHERE pid = ?', [
          rows[0]?.pid ?? 0,
        ]);
        expect(alive.rows).toEqual([]);
      }, PATIENCE);
    }, CALL);
    await expect(committing).rejects.toMatchObject({
      code: 'LOCKSTEP_STORE_UNAVAILABLE',
      outcome: 'unknown',
    });
  });
});
