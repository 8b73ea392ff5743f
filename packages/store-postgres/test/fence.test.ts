import type { Clock, StoreOutcome } from '@lockstep/core';
import type { Knex } from 'knex';
import { beforeAll, describe, expect, test } from 'vitest';
import { type PostgresStore, type PostgresTable, postgresStore } from '../src/index.js';
import { ServerClock } from '../src/wire/server-clock.js';
import { CALL, READ, testServer } from './support/database.js';

interface Item {
  readonly id: number;
  readonly n: number;
}

const server = testServer();
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

const newId = (): number => ++lastId;

async function put(id: number, n: number, notAfterMs?: number): Promise<StoreOutcome<Item> | undefined> {
  const command = { kind: 'put', key: String(id), value: { id, n }, above: 0 } as const;
  return (await items.write([command], { ...CALL, notAfterMs }))[0];
}

async function held(id: number): Promise<number | undefined> {
  return (await items.read([String(id)], READ))[0]?.value.n;
}

const LATE = { code: 'LOCKSTEP_STORE_TIMEOUT' };
const FAR_MS = 600_000;

describe('deadlines (G7)', () => {
  test.each([
    ['insert', (trx: Knex, id: number) => trx('items').insert({ id: id + 100_000, n: 2 })],
    ['update', (trx: Knex, id: number) => trx('items').where({ id }).update({ n: 2 })],
    ['delete', (trx: Knex, id: number) => trx('items').where({ id }).delete()],
    ['upsert', (trx: Knex, id: number) => trx('items').insert({ id, n: 2 }).onConflict('id').merge()],
    [
      'change of the key',
      (trx: Knex, id: number) =>
        trx('items')
          .where({ id })
          .update({ id: id + 200_000 }),
    ],
  ])("a transaction's own %s is refused by the trigger once its time is over", async (_, statement) => {
    const [id, intime] = [newId(), newId()];
    await put(id, 1);
    await put(intime, 1);
    const transaction = pg.transactions.transaction(async ({ client }) => {
      const trx = client as Knex.Transaction;
      const { rows } = await trx.raw<{ rows: { left: number }[] }>(
        "SELECT current_setting('lockstep.deadline')::int8 / 1e6 - date_part('epoch', clock_timestamp()) AS left",
      );
      expect(rows[0]?.left).toBeGreaterThan(0);
      expect(rows[0]?.left).toBeLessThanOrEqual(CALL.timeoutMs / 1_000);
      await statement(trx, intime);
      await trx.raw("SELECT set_config('lockstep.deadline', '1', true)");
      await statement(trx, id);
    }, CALL);
    await expect(transaction).rejects.toMatchObject(LATE);
    expect(await held(id)).toBe(1);
  });

  test('statements of other programs know no deadline', async () => {
    const id = newId();
    await put(id, 1, Date.now() + FAR_MS);
    await knex('items').where({ id }).update({ n: 2 });
    expect(await held(id)).toBe(2);
  });

  test('an upsert of a row that another transaction inserts is judged when that has ended', async () => {
    const id = newId();
    const trx = await knex.transaction();
    await trx('items').insert({ id, n: 1 });
    const notAfterMs = (await items.fence.nowMs()) + 200;
    const late = put(id, 2, notAfterMs);
    await waitsForLock();
    await until(async () => (await items.fence.nowMs()) > notAfterMs);
    await trx.commit();
    expect(await late).toMatchObject({ kind: 'failed', error: LATE });
    expect(await held(id)).toBe(1);
  });

  test('writes with a deadline are recorded for consumers, once', async () => {
    const ids = [newId(), newId()];
    const commands = ids.map(
      (id) => ({ kind: 'put', key: String(id), value: { id, n: 1 }, above: 0 }) as const,
    );
    for (const times of [1, 2]) {
      await items.write(commands, { ...CALL, notAfterMs: Date.now() + FAR_MS });
      const { rows } = await knex.raw<{ rows: { n: number }[] }>(
        'SELECT count(*)::int AS n FROM lockstep.outbox WHERE source = ? AND key = ANY (?) AND version % 4 = 2',
        [items.source, ids.map(String)],
      );
      expect(rows[0]?.n).toBe(times * ids.length);
    }
  });

  test('nothing is sent after the deadline, by a process that finds its timers late, too', async () => {
    let aheadMs = 0;
    const clock: Clock = {
      now: () => Date.now(),
      monotonic: () => performance.now() + aheadMs,
      // As after a SIGSTOP: what arrived meanwhile is seen before the timers are.
      schedule: () => () => undefined,
    };
    const one = server.knex(undefined, 1);
    const store = postgresStore({ knex: one, clock });
    const table = store.table<Item, number>('items', { key: 'id' });
    await table.open();
    const id = newId();
    const busy = await one.transaction();
    const command = { kind: 'put', key: String(id), value: { id, n: 1 }, above: 0 } as const;
    const writing = table.write([command], { timeoutMs: 1_000 });
    aheadMs = 5_000;
    await busy.commit();
    expect(await writing).toMatchObject([
      { kind: 'failed', error: { code: 'LOCKSTEP_STORE_UNAVAILABLE', outcome: 'not-committed' } },
    ]);
    expect(await held(id)).toBeUndefined();
    await store.close();
  });
});

describe('settle (G7)', () => {
  test('waits for a statement that waits for its row, and for one that has not committed', async () => {
    const id = newId();
    await put(id, 1);
    const trx = await knex.transaction();
    await trx('items').where({ id }).update({ n: 2 });
    const waiting = put(id, 3, Date.now() + FAR_MS);
    await waitsForLock();
    expect(await items.fence.settle(String(id), { timeoutMs: 100 })).toBe(false);
    const settling = items.fence.settle(String(id), CALL);
    await trx.commit();
    expect(await settling).toBe(true);
    expect(await held(id)).toBe(3);
    expect(await waiting).toMatchObject({ kind: 'written' });
  });

  test('rejects where the role may not take the lock: the reader fills nothing', async () => {
    await knex.raw('CREATE ROLE reader LOGIN');
    await pg.attach(items, { grantTo: ['reader'] });
    await knex.raw(`GRANT SELECT ON items TO reader;
      REVOKE EXECUTE ON FUNCTION pg_catalog.pg_advisory_xact_lock(bigint) FROM PUBLIC`);
    const url = new URL(server.url);
    url.username = 'reader';
    const { pg: poor } = server.store({ knex: server.knex(url.href) });
    const table = poor.table<Item, number>('items', { key: 'id' });
    await table.open();
    await expect(table.fence.settle('1', CALL)).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_REFUSED' });
  });
});

describe("the estimate of the server's clock", () => {
  /** A server whose clock is `lead` ahead of this process's; answers take 10 ms each way. */
  function estimate() {
    let now = 1_000;
    const state = { lead: 50_000, asked: 0 };
    const clock = { now: () => now, monotonic: () => now, schedule: () => () => undefined };
    const tell = (): void => {
      const sentAt = now;
      now += 10;
      const serverUs = (now + state.lead) * 1_000;
      now += 10;
      estimated.sample(sentAt, serverUs);
    };
    const estimated = new ServerClock(clock, async () => {
      state.asked += 1;
      tell();
    });
    return {
      state,
      tell,
      estimated,
      pass: (ms: number) => (now += ms),
      behind: (at: number) => now + state.lead - at,
    };
  }

  test('is behind the clock by less than a round trip, and asked for only when it is old', async () => {
    const { behind, estimated, pass, state, tell } = estimate();
    expect(behind(await estimated.nowMs())).toBe(10);
    pass(9_000);
    expect(behind(estimated.nowMs() as number)).toBe(10);
    tell();
    pass(9_000);
    expect(estimated.nowMs()).toBeTypeOf('number');
    expect(state.asked).toBe(1);
    pass(2_000);
    await estimated.nowMs();
    expect(state.asked).toBe(2);
  });

  test('many who ask at once ask once', async () => {
    const { estimated, state } = estimate();
    await Promise.all([estimated.nowMs(), estimated.nowMs(), estimated.nowMs()]);
    expect(state.asked).toBe(1);
  });

  test.each([-5_000, 5_000])('follows a clock that steps by %d ms with the next answer', async (stepMs) => {
    const { behind, estimated, state, tell } = estimate();
    await estimated.nowMs();
    state.lead += stepMs;
    tell();
    expect(behind(estimated.nowMs() as number)).toBe(10);
  });

  test('is dropped when a write was refused by it', async () => {
    const { estimated, state } = estimate();
    await estimated.nowMs();
    estimated.forget();
    await estimated.nowMs();
    expect(state.asked).toBe(2);
  });
});

async function until(check: () => Promise<boolean>): Promise<void> {
  while (!(await check())) await new Promise((resolve) => setTimeout(resolve, 5));
}

async function waitsForLock(): Promise<void> {
  await until(async () => {
    const { rows } = await knex.raw<{ rows: { n: number }[] }>(
      `SELECT count(*)::int AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`,
    );
    return (rows[0]?.n ?? 0) > 0;
  });
}
