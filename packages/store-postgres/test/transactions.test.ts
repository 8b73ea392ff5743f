import { once } from 'node:events';
import { createLockstep, systemClock, type Transaction } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import type { Knex } from 'knex';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { PostgresStore, PostgresTable } from '../src/index.js';
import { storeDeadline } from '../src/wire/deadline.js';
import { bare } from '../src/wire/pipeline.js';
import { BoundedTransaction } from '../src/wire/transaction.js';
import { testServer } from './support/database.js';

interface Account {
  readonly id: number;
  readonly n: number;
}

const OVER = { code: 'LOCKSTEP_TRANSACTION_OVER' };
const PATIENCE = { timeout: 60_000 };
const server = testServer();
let knex: Knex;
/** Another client: it holds rows, and sees what is committed. */
let other: Knex;
let pg: PostgresStore;
let table: PostgresTable<Account, number>;
const lockstep = createLockstep({ cache: memoryCache() });

function open() {
  return lockstep.collection({ name: `accounts-${++collections}`, store: table });
}
let collections = 0;
let accounts: ReturnType<typeof open>;

beforeAll(async () => {
  ({ knex, pg } = server.store());
  other = server.knex();
  await knex.raw(
    'CREATE TABLE accounts (id int PRIMARY KEY, n int NOT NULL UNIQUE DEFERRABLE INITIALLY IMMEDIATE)',
  );
  table = pg.table<Account, number>('accounts', { key: 'id' });
  await pg.attach(table);
  accounts = open();
});

afterAll(async () => {
  await lockstep.close();
});

beforeEach(async () => {
  await knex('accounts').delete();
  await knex('accounts').insert([1, 2, 3].map((id) => ({ id, n: id * 1_000 })));
});

const stored = async (): Promise<number[]> => (await other('accounts').orderBy('id')).map(({ n }) => n);
const UNCHANGED = [1_000, 2_000, 3_000];

/** Somebody else who has the row until told. */
async function holding(id: number): Promise<Knex.Transaction> {
  const holder = await other.transaction();
  await holder('accounts').where({ id }).forUpdate();
  return holder;
}

/** Resolves once a statement of the test's store waits for a lock. */
async function untilBlocked(): Promise<void> {
  await vi.waitFor(async () => {
    const { rows } = await other.raw("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'");
    expect(rows).not.toEqual([]);
  }, PATIENCE);
}

const clientOf = (tx: { readonly client: unknown }): Knex.Transaction => tx.client as Knex.Transaction;
const settled = async (call: PromiseLike<unknown>): Promise<unknown> =>
  await Promise.resolve(call).then(
    () => 'resolved',
    (error: { code?: string }) => error.code,
  );

describe('a transaction that is over', () => {
  test('aborted while a call waits for a row: the calls after it are refused, nothing is changed', async () => {
    const holder = await holding(1);
    const abort = new AbortController();
    const calls: unknown[] = [];
    const bodyEnded = Promise.withResolvers<void>();
    const running = lockstep.transaction(
      async (tx) => {
        for (const id of [1, 2]) calls.push(await settled(accounts.increment(id, 'n', 1, { tx })));
        calls.push(await settled(accounts.get(3, { tx })));
        calls.push(await settled(clientOf(tx)('accounts').where({ id: 3 }).update({ n: 7 })));
        calls.push(await settled(clientOf(tx).raw('UPDATE accounts SET n = 8 WHERE id = 3')));
        bodyEnded.resolve();
      },
      { signal: abort.signal },
    );
    await untilBlocked();
    const rejected = expect(running).rejects.toThrow('the client went away');
    abort.abort(new Error('the client went away'));
    await holder.rollback();
    await rejected;
    await bodyEnded.promise;
    expect(calls.slice(1)).toEqual(Array(4).fill(OVER.code));
    expect(await stored()).toEqual(UNCHANGED);
  });

  test('out of time between two statements, with calls queued, or in a savepoint', async () => {
    const bodies: ((tx: Transaction, late: Promise<void>) => Promise<unknown>)[] = [
      async (tx, late) => {
        await accounts.increment(1, 'n', 1, { tx });
        await late;
        await expect(accounts.increment(2, 'n', 1, { tx })).rejects.toMatchObject(OVER);
        await expect(clientOf(tx)('accounts').insert({ id: 9, n: 9 })).rejects.toMatchObject(OVER);
      },
      async (tx, late) => {
        const built = clientOf(tx)('accounts').where({ id: 2 }).update({ n: 5 });
        await late;
        await expect(built).rejects.toMatchObject(OVER);
      },
      async (tx, late) => {
        const nested = clientOf(tx).transaction(async (inner) => {
          await inner('accounts').where({ id: 2 }).update({ n: 5 });
          await late;
          await inner('accounts').where({ id: 3 }).update({ n: 5 });
        });
        await expect(nested).rejects.toThrow();
      },
      async (tx, late) => {
        const connection = (await clientOf(tx).client.acquireConnection()) as {
          query(text: string): Promise<unknown>;
        };
        await late;
        await expect(clientOf(tx).client.acquireConnection()).rejects.toMatchObject(OVER);
        const stream = clientOf(tx)('accounts').stream();
        const [failure] = await once(stream, 'error').catch((error: unknown) => [error]);
        expect(failure).toMatchObject(OVER);
        await expect(connection.query('UPDATE accounts SET n = 8 WHERE id = 3')).rejects.toMatchObject(OVER);
      },
    ];
    for (const body of bodies) {
      const late = Promise.withResolvers<void>();
      let ended: Promise<unknown> | undefined;
      const running = lockstep.transaction(
        (tx) => {
          ended = body(tx, late.promise);
          return ended;
        },
        { timeoutMs: 300 },
      );
      await expect(running).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_TIMEOUT' });
      late.resolve();
      await ended;
      expect(await stored()).toEqual(UNCHANGED);
    }
  });

  test('what waits behind a held statement never reaches the server', async () => {
    const holder = await holding(1);
    const sent: string[] = [];
    const note = ({ sql }: { sql: string }): void => void sent.push(sql);
    const abort = new AbortController();
    let calls: Promise<unknown[]> | undefined;
    const running = lockstep.transaction(
      (tx) => {
        clientOf(tx).on('query-response', (_answer: unknown, query: { sql: string }) => note(query));
        calls = Promise.all([
          settled(clientOf(tx).raw('UPDATE accounts SET n = n + 1 WHERE id = 1')),
          settled(clientOf(tx).raw('UPDATE accounts SET n = n + 1 WHERE id = 2')),
          settled(accounts.increment(3, 'n', 1, { tx })),
        ]);
        return calls;
      },
      { signal: abort.signal },
    );
    await untilBlocked();
    const outcome = settled(running);
    abort.abort();
    await holder.rollback();
    expect(await outcome).not.toBe('resolved');
    expect((await calls)?.slice(1)).toEqual([OVER.code, OVER.code]);
    expect(sent.filter((sql) => sql.includes('id = 2'))).toEqual([]);
    expect(await stored()).toEqual(UNCHANGED);
  });

  test('committed or thrown: neither late calls nor late statements get in', async () => {
    for (const end of ['return', 'throw'] as const) {
      let leaked: { readonly client: unknown } | undefined;
      const running = lockstep.transaction(async (tx) => {
        leaked = tx;
        await accounts.increment(1, 'n', 1, { tx });
        if (end === 'throw') throw new Error('changed my mind');
      });
      await running.catch(() => undefined);
      const tx = leaked as Transaction;
      await expect(accounts.increment(2, 'n', 1, { tx })).rejects.toMatchObject(OVER);
      await expect(clientOf(tx)('accounts').where({ id: 3 }).update({ n: 9 })).rejects.toMatchObject(OVER);
      await expect(clientOf(tx).transaction((inner) => inner.raw('SELECT 1'))).rejects.toThrow();
    }
    expect(await stored()).toEqual([1_001, 2_000, 3_000]);
  });

  test('a call that the body does not wait for is part of it, or is refused', async () => {
    for (let round = 0; round < 10; round++) {
      const before = await stored();
      let late: Promise<unknown>[] = [];
      await lockstep.transaction(async (tx) => {
        await accounts.increment(1, 'n', 1, { tx });
        late = [2, 3].map((id) => settled(accounts.increment(id, 'n', 1, { tx })));
        for (let turn = 0; turn < round; turn++) await undefined;
      });
      const added = (await Promise.all(late)).map((outcome) => (outcome === 'resolved' ? 1 : 0));
      const [first, ...rest] = await stored();
      expect(first).toBe((before[0] as number) + 1);
      expect(rest).toEqual(added.map((n, at) => n + (before[at + 1] as number)));
    }
  });

  test('with a nested transaction that is not over: half of it is not committed', async () => {
    const late = Promise.withResolvers<void>();
    let nested: Promise<unknown> = Promise.resolve();
    const running = lockstep.transaction(async (tx) => {
      const begun = Promise.withResolvers<void>();
      await clientOf(tx).transaction((done) => done('accounts').where({ id: 1 }).update({ n: 4 }));
      nested = settled(
        clientOf(tx).transaction(async (inner) => {
          await inner('accounts').where({ id: 2 }).update({ n: 5 });
          begun.resolve();
          await late.promise;
          await inner('accounts').where({ id: 3 }).update({ n: 6 });
        }),
      );
      await begun.promise;
    });
    await expect(running).rejects.toMatchObject({ outcome: 'not-committed' });
    late.resolve();
    expect(await nested).not.toBe('resolved');
    expect(await stored()).toEqual(UNCHANGED);
    await lockstep.transaction((tx) =>
      clientOf(tx).transaction((done) => done('accounts').where({ id: 1 }).update({ n: 4 })),
    );
    expect(await stored()).toEqual([4, 2_000, 3_000]);
  });

  test('ended by a statement of its own body: nothing is committed behind that, and it rejects', async () => {
    const ends = {
      COMMIT: 'unknown',
      END: 'unknown',
      ROLLBACK: 'not-committed',
      ABORT: 'not-committed',
      'ROLLBACK AND CHAIN': 'not-committed',
      'rollback; begin': 'not-committed',
      "PREPARE TRANSACTION 'refused'": 'not-committed',
      'SAVEPOINT s; ROLLBACK TO s; ROLLBACK AND NO CHAIN; BEGIN; SELECT 1': 'not-committed',
    };
    for (const [end, outcome] of Object.entries(ends)) {
      const running = lockstep.transaction(async (tx) => {
        const all = [clientOf(tx).raw(end), clientOf(tx)('accounts').where({ id: 2 }).update({ n: 5 })];
        await Promise.allSettled(all);
        await expect(accounts.increment(3, 'n', 1, { tx })).rejects.toMatchObject(OVER);
      });
      await expect(running, end).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_UNAVAILABLE', outcome });
    }
    expect(await stored()).toEqual(UNCHANGED);
  });

  test('ended by its last statement, awaited or not, on either handle: it does not resolve, and nobody is told of its rows', async () => {
    const cached = open();
    const ended = async (trx: Knex.Transaction, end: string, isAwaited: boolean): Promise<void> => {
      await trx('accounts').where({ id: 2 }).update({ n: 5 });
      const connection = await trx.client.acquireConnection();
      const ending = settled(isAwaited ? trx.raw(end) : connection.query(end));
      if (isAwaited) await ending;
    };
    const outcome = { outcome: 'not-committed' };
    for (const [end, isAwaited] of [
      ['ROLLBACK', false],
      ['ROLLBACK AND CHAIN', true],
      ['ROLLBACK; BEGIN', false],
    ] as const) {
      const running = lockstep.transaction(async (tx) => {
        await cached.put(1, { id: 1, n: 7 }, { tx });
        await ended(clientOf(tx), end, isAwaited);
      });
      await expect(running, end).rejects.toMatchObject(outcome);
      const writing = cached.write(1, (trx) => ended(trx, end, !isAwaited));
      await expect(writing, end).rejects.toMatchObject(outcome);
    }
    expect(await stored()).toEqual(UNCHANGED);
    expect((await cached.getMany([1, 2])).map((row) => row?.n)).toEqual([1_000, 2_000]);
  });

  test('a procedural block that would end it is refused, and savepoints end nothing', async () => {
    const block = lockstep.transaction(async (tx) => {
      await accounts.increment(1, 'n', 1, { tx });
      await settled(clientOf(tx).raw('DO $$ BEGIN ROLLBACK; END $$'));
    });
    await expect(block).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_REFUSED' });
    await lockstep.transaction(async (tx) => {
      for (const back of ['ROLLBACK TO s', 'ROLLBACK TO SAVEPOINT s; SELECT 1', 'ROLLBACK WORK TO "s"']) {
        await clientOf(tx).raw('SAVEPOINT s');
        await accounts.increment(2, 'n', 1, { tx });
        await clientOf(tx).raw(back);
        await accounts.increment(1, 'n', 1, { tx });
      }
    });
    expect(await stored()).toEqual([1_003, 2_000, 3_000]);
  });

  test('committed by a statement that begins another: it is over all the same, and no rejection passes for a rollback', async () => {
    const onItsOwn =
      'UPDATE accounts SET n = 5 WHERE id = 2; ROLLBACK; UPDATE accounts SET n = n WHERE id = 1';
    for (const end of ['COMMIT AND CHAIN', 'COMMIT; BEGIN', 'COMMIT; SELECT 1', 'END; ROLLBACK', onItsOwn]) {
      const running = lockstep.transaction(async (tx) => {
        const all = [clientOf(tx).raw(end), clientOf(tx)('accounts').where({ id: 2 }).update({ n: 5 })];
        await Promise.allSettled(all);
        await expect(accounts.increment(3, 'n', 1, { tx })).rejects.toMatchObject(OVER);
        throw new Error('changed my mind');
      });
      await expect(running).rejects.toMatchObject({ outcome: 'unknown' });
    }
    expect(await stored()).toEqual(UNCHANGED);
  });

  test('its connection lost: the calls after it are refused', async () => {
    const running = lockstep.transaction(async (tx) => {
      await accounts.increment(1, 'n', 1, { tx });
      const { rows } = await clientOf(tx).raw<{ rows: { pid: number }[] }>('SELECT pg_backend_pid() AS pid');
      await other.raw('SELECT pg_terminate_backend(?)', [rows[0]?.pid ?? 0]);
      await vi.waitFor(async () => {
        await expect(accounts.increment(2, 'n', 1, { tx })).rejects.toMatchObject(OVER);
      }, PATIENCE);
    });
    await expect(running).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_UNAVAILABLE' });
    expect(await stored()).toEqual(UNCHANGED);
  });

  test('the same for write(), and with a pool of one the next transaction finds its connection clean', async () => {
    const single = server.store({ knex: server.knex(server.url, 1) });
    const alone = single.pg.table<Account, number>('accounts', { key: 'id' });
    const mine = createLockstep({ cache: memoryCache() });
    const rows = mine.collection({ name: 'accounts', store: alone });
    const holder = await holding(1);
    let late: Promise<unknown> | undefined;
    const writing = rows.write(
      1,
      (trx) => {
        late = (async () => {
          await settled(trx('accounts').where({ id: 1 }).update({ n: 5 }));
          return await settled(trx('accounts').where({ id: 2 }).update({ n: 6 }));
        })();
        return late;
      },
      { timeoutMs: 300 },
    );
    await expect(writing).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_TIMEOUT' });
    expect(await late).toBe(OVER.code);
    await holder.rollback();
    await mine.transaction((tx) => rows.increment(3, 'n', 1, { tx }));
    expect(await stored()).toEqual([1_000, 2_000, 3_001]);
    await mine.close();
  });
});

describe('a statement that failed', () => {
  test('swallowed: each further call is refused with it as the cause, and nothing is committed', async () => {
    const refused = { cause: { code: 'LOCKSTEP_STORE_REFUSED', message: expect.stringContaining('23505') } };
    const running = lockstep.transaction(async (tx) => {
      await accounts.increment(3, 'n', 1, { tx });
      await expect(accounts.put(1, { id: 1, n: 2_000 }, { tx })).rejects.toMatchObject({
        code: 'LOCKSTEP_STORE_REFUSED',
      });
      await expect(accounts.increment(3, 'n', 1, { tx })).rejects.toMatchObject({ ...OVER, ...refused });
      await expect(accounts.get(3, { tx })).rejects.toMatchObject({ ...OVER, ...refused });
      await expect(clientOf(tx)('accounts').select()).rejects.toMatchObject({ ...OVER, ...refused });
    });
    await expect(running).rejects.toMatchObject({
      code: 'LOCKSTEP_STORE_REFUSED',
      message: expect.stringContaining('23505'),
      mayDependOnOthers: true,
      ...refused,
    });
    expect(await stored()).toEqual(UNCHANGED);
  });

  test('beside others of the same Promise.all: none of them says 25P02', async () => {
    let outcomes: unknown[] = [];
    const running = lockstep.transaction(async (tx) => {
      outcomes = await Promise.all([
        settled(clientOf(tx).raw('SELECT 1 / 0')),
        settled(clientOf(tx).raw('SELECT 1')),
        settled(accounts.increment(1, 'n', 1, { tx })),
      ]);
    });
    await expect(running).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_REFUSED' });
    expect(outcomes).toEqual(['22012', OVER.code, OVER.code]);
  });

  test('in a savepoint, rolled back to it: the transaction goes on', async () => {
    await lockstep.transaction(async (tx) => {
      const trx = clientOf(tx);
      await expect(trx.transaction((inner) => inner.raw('SELECT 1 / 0'))).rejects.toThrow('division');
      await accounts.increment(1, 'n', 1, { tx });
    });
    expect(await stored()).toEqual([1_001, 2_000, 3_000]);
  });
});

test('what is taken back with a savepoint is cached by nobody', async () => {
  const rows = open();
  const read = async (): Promise<unknown[]> => {
    const found = await Promise.all([1, 2, 3, 9].map((id) => rows.get(id)));
    return found.map((row) => row?.n);
  };
  await read();
  await lockstep.transaction(async (tx) => {
    await rows.increment(3, 'n', 1, { tx });
    const nested = clientOf(tx).transaction(async () => {
      await rows.put(1, { id: 1, n: 5 }, { tx });
      await rows.delete(2, { tx });
      await rows.increment(3, 'n', 1, { tx });
      await rows.put(9, { id: 9, n: 9 }, { tx });
      throw new Error('changed my mind');
    });
    await expect(nested).rejects.toThrow('changed my mind');
  });
  expect(await stored()).toEqual([1_000, 2_000, 3_001]);
  expect(await read()).toEqual([1_000, 2_000, 3_001, undefined]);
});

test('deadlocks under load: bodies run again, old ones are refused, and what is moved is neither lost nor made', async () => {
  await knex.raw('ALTER TABLE accounts DROP CONSTRAINT accounts_n_key');
  const { rows: databases } = await knex.raw('SELECT current_database() AS name');
  await knex.raw('ALTER DATABASE ?? SET deadlock_timeout = 10', [databases[0].name]);
  // Connections made from now on look for deadlocks soon.
  const busy = server.store();
  const own = createLockstep({ cache: memoryCache() });
  const rows = own.collection({
    name: 'accounts',
    store: busy.pg.table<Account, number>('accounts', { key: 'id' }),
  });
  let bodies = 0;
  const late: Promise<unknown>[] = [];
  const workers = Array.from({ length: 6 }, async (_, worker) => {
    const [from, to] = worker % 2 === 0 ? [1, 2] : [2, 1];
    for (let round = 0; round < 10; round++) {
      const moving = own.transaction(async (tx) => {
        bodies++;
        await rows.increment(from as number, 'n', -1, { tx });
        // The other call goes on when this one loses the deadlock.
        const calls = [rows.increment(to as number, 'n', 1, { tx }), rows.get(3, { tx })];
        late.push(...calls.map(settled));
        await Promise.all(calls);
      });
      await moving.catch((error: { code?: string; outcome?: string }) => {
        if (error.outcome !== 'not-committed' && error.code !== 'LOCKSTEP_STORE_TIMEOUT') throw error;
      });
    }
  });
  await Promise.all(workers);
  await Promise.all(late);
  expect(bodies).toBeGreaterThan(60);
  expect((await stored()).reduce((sum, n) => sum + n, 0)).toBe(6_000);
  await own.close();
  await knex.raw('ALTER TABLE accounts ADD UNIQUE (n) DEFERRABLE INITIALLY IMMEDIATE');
}, 60_000);

describe('modes', () => {
  const shown = async (tx: { readonly client: unknown }): Promise<unknown[]> => {
    const { rows } = await clientOf(tx).raw(
      "SELECT current_setting('transaction_isolation') AS i, current_setting('transaction_read_only') AS r, current_setting('transaction_deferrable') AS d",
    );
    return Object.values(rows[0]);
  };

  test('isolation, readOnly and deferrable are the transaction’s', async () => {
    expect(await lockstep.transaction(shown)).toEqual(['read committed', 'off', 'off']);
    expect(await lockstep.transaction(shown, { isolation: 'repeatable read' })).toEqual([
      'repeatable read',
      'off',
      'off',
    ]);
    const all = { isolation: 'serializable', readOnly: true, deferrable: true } as const;
    expect(await lockstep.transaction(shown, all)).toEqual(['serializable', 'on', 'on']);
    const { returned } = await accounts.write(1, (client) => shown({ client }), {
      isolation: 'serializable',
    });
    expect(returned).toEqual(['serializable', 'off', 'off']);
  });

  test('a read-only transaction refuses writes', async () => {
    const writing = lockstep.transaction((tx) => accounts.increment(1, 'n', 1, { tx }), { readOnly: true });
    await expect(writing).rejects.toThrow();
    expect(await stored()).toEqual(UNCHANGED);
  });
});

test('transactions that hold every connection of the pool may be the first to use a collection', async () => {
  const single = server.store({ knex: server.knex(server.url, 2) });
  const mine = createLockstep({ cache: memoryCache() });
  const store = single.pg.table<Account, number>('accounts', { key: 'id' });
  const rows = mine.collection({ name: 'accounts', store });
  const adding = [1, 2, 3, 1].map((id) =>
    mine.transaction(async (tx) => (await rows.increment(id, 'n', 1, { tx })).value?.n, { timeoutMs: 8_000 }),
  );
  expect((await Promise.all(adding)).sort()).toEqual([1_001, 1_002, 2_001, 3_001]);
  await mine.close();
});

describe('messages', () => {
  /** A store of one connection, which tells the states that the server has answered with. */
  async function listening() {
    const single = server.store({ knex: server.knex(server.url, 1) });
    const client = await single.knex.client.acquireConnection();
    const states: string[] = [];
    client.connection.on('readyForQuery', ({ status }: { status: string }) => states.push(status));
    await single.knex.client.releaseConnection(client);
    const mine = createLockstep({ cache: memoryCache() });
    const store = single.pg.table<Account, number>('accounts', { key: 'id' });
    const rows = mine.collection({ name: 'accounts', store });
    await rows.get(1);
    const pid = async (): Promise<unknown> => (await single.knex.raw('SELECT pg_backend_pid() AS pid')).rows;
    return { mine, rows, pid, knex: single.knex, transactions: () => states.join('').match(/T+I/g) };
  }

  test('begin and settings are one, changes and commit another', async () => {
    const { mine, rows, transactions } = await listening();
    await mine.transaction(async (tx) => {
      for (const id of [1, 2, 3]) await rows.put(id, { id, n: id }, { tx });
    });
    // With the commit the row is read that the collection caches.
    await rows.write(1, (trx) => trx('accounts').where({ id: 1 }).update({ n: 11 }));
    expect(transactions()).toEqual(['TTTTI', 'TTI']);
    expect(await stored()).toEqual([11, 2, 3]);
    expect(await rows.get(1)).toEqual({ id: 1, n: 11 });
    await mine.close();
  });

  test('refused with the commit: nothing is committed, and the connection is clean', async () => {
    const { mine, rows, pid } = await listening();
    const before = await pid();
    const twice = mine.transaction(async (tx) => {
      await clientOf(tx).raw('SET CONSTRAINTS ALL DEFERRED');
      await rows.put(1, { id: 1, n: 2_000 }, { tx });
    });
    await expect(twice).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_REFUSED' });
    expect(await stored()).toEqual(UNCHANGED);
    expect(await rows.get(1)).toEqual({ id: 1, n: 1_000 });
    await mine.transaction((tx) => rows.increment(1, 'n', 1, { tx }));
    expect(await stored()).toEqual([1_001, 2_000, 3_000]);
    expect(await pid()).toEqual(before);
    await mine.close();
  });

  test('not serializable with what was committed meanwhile: the body runs again', async () => {
    let runs = 0;
    await lockstep.transaction(
      async (tx) => {
        const sum = async (of: Knex): Promise<number> => {
          const all = await of<Account>('accounts');
          return all.reduce((total, { n }) => total + n, 0);
        };
        const n = await sum(clientOf(tx));
        await accounts.put(1, { id: 1, n }, { tx });
        if (++runs > 1) return;
        await other.transaction(
          async (trx) =>
            await trx('accounts')
              .where({ id: 2 })
              .update({ n: 1 + (await sum(trx)) }),
          { isolationLevel: 'serializable' },
        );
      },
      { isolation: 'serializable' },
    );
    expect(runs).toBe(2);
    expect(await stored()).toEqual([10_001, 6_001, 3_000]);
  });

  test('refused with the begin: the connection stays', async () => {
    const { mine, pid, knex: single } = await listening();
    const before = await pid();
    const deadline = storeDeadline(systemClock, 10_000, 'late');
    const begun = await BoundedTransaction.begin(single, deadline, () => [bare('SELECT 1 / 0')]);
    expect(begun.gate.openingError).toMatchObject({ code: '22012' });
    await begun.rollBack();
    expect(await pid()).toEqual(before);
    await mine.close();
  });
});
