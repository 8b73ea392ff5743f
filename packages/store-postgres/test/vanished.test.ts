import { startProxy, type TcpProxy } from '@lockstep/dev-services';
import type { Knex } from 'knex';
import { afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import type { PostgresStore, PostgresTable } from '../src/index.js';
import { positionsOf, READ, testServer } from './support/database.js';

interface Item {
  readonly id: number;
  readonly n: number;
}

/** A server that goes away without a word: nothing arrives on its connections, and nothing ends them. */
const server = testServer();
const SOURCE = 'public.items';
const PATIENCE = { timeout: 60_000, interval: 5 } as const;
const TIMEOUT_MS = 500;
let direct: Knex;
let proxy: TcpProxy;
/** Of two connections, so that one which is lost for good is missed. */
let knex: Knex;
let pg: PostgresStore;
let items: PostgresTable<Item, number>;

beforeAll(async () => {
  const attached = server.store();
  direct = attached.knex;
  await direct.raw('CREATE TABLE items (id int PRIMARY KEY, n int)');
  await attached.pg.attach(attached.pg.table<Item, number>('items', { key: 'id' }));
  await direct.raw('INSERT INTO items SELECT i, 0 FROM generate_series(1, 50) i');
});

beforeEach(async () => {
  proxy = await startProxy({ target: server.url });
  knex = server.knex(proxy.url, 2);
  pg = server.store({
    knex,
    openTimeoutMs: TIMEOUT_MS,
    feed: { statementTimeoutMs: TIMEOUT_MS, handlerTimeoutMs: TIMEOUT_MS, pollMs: 60_000 },
  }).pg;
  items = pg.table<Item, number>('items', { key: 'id' });
});

afterEach(async () => {
  await pg.close();
  await proxy.stop();
});

/** The pool's connections, all in place. */
async function connected(): Promise<void> {
  await Promise.all([knex.raw('SELECT pg_sleep(0.05)'), knex.raw('SELECT pg_sleep(0.05)')]);
}

async function worksAgain(): Promise<void> {
  await items.open();
  expect(
    await Promise.all([items.read(['1'], READ), items.read(['2'], READ), items.read(['3'], READ)]),
  ).toMatchObject([[{ key: '1' }], [{ key: '2' }], [{ key: '3' }]]);
}

test('open gives up in its time, gives its connection up with it, and can be tried again', async () => {
  await connected();
  proxy.halfOpen();
  await expect(items.open()).rejects.toMatchObject({ code: expect.stringMatching(/^LOCKSTEP_STORE_/) });
  await expect(items.open()).rejects.toMatchObject({ code: expect.stringMatching(/^LOCKSTEP_STORE_/) });
  await worksAgain();
});

test('what waits in the feed: each question has its time, and takes no connection along', async () => {
  await connected();
  proxy.halfOpen();
  await expect(pg.feed.status([SOURCE])).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_TIMEOUT' });
  await expect(pg.feed.status([SOURCE])).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_TIMEOUT' });
  expect(await pg.feed.status([SOURCE])).toMatchObject({ oldestMs: expect.any(Number) });
  await worksAgain();
});

test('consumers go on, over new connections, and listen again (G4)', async () => {
  const abort = new AbortController();
  const taken: string[] = [];
  const errors: unknown[] = [];
  const listening = async (): Promise<number> => {
    const { rows } = await direct.raw<{ rows: unknown[] }>(
      `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query = 'LISTEN lockstep'`,
    );
    return rows.length;
  };
  const done = pg.feed.consume(
    async (changes) => {
      taken.push(...changes.map(({ key }) => key));
    },
    { sources: [SOURCE], signal: abort.signal, onError: (error) => errors.push(error) },
  );
  try {
    await vi.waitFor(async () => expect(await listening()).toBe(1), PATIENCE);
    await direct.raw('UPDATE items SET n = n + 1 WHERE id = 1');
    await vi.waitFor(() => expect(taken).toContain('1'), PATIENCE);
    proxy.halfOpen();
    await vi.waitFor(async () => expect(await listening()).toBe(0), PATIENCE);
    // Only a notification can tell within the test's time: polling is once a minute.
    await vi.waitFor(async () => expect(await listening()).toBe(1), PATIENCE);
    await direct.raw('UPDATE items SET n = n + 1 WHERE id = 2');
    await vi.waitFor(() => expect(taken).toContain('2'), PATIENCE);
  } finally {
    abort.abort();
    await done;
  }
  await worksAgain();
});

test('a replay ends with its signal, and with its store, and leaves nothing behind (G5)', async () => {
  const vanished = vi.fn(async () => proxy.halfOpen());
  const [now = ''] = (await positionsOf(pg, SOURCE)).get(SOURCE) ?? [];
  const start = new Map([[SOURCE, [now.replace(/\d+$/, '3')]]]);
  const replay = (signal: AbortSignal): Promise<void> =>
    pg.feed.replay(start, vanished, { sources: [SOURCE], signal, batchSize: 10 });
  const abort = new AbortController();
  const aborted = expect(replay(abort.signal)).rejects.toThrow('enough');
  await vi.waitFor(() => expect(vanished).toHaveBeenCalledTimes(1), PATIENCE);
  abort.abort(new Error('enough'));
  await aborted;
  const closed = expect(replay(new AbortController().signal)).rejects.toMatchObject({
    code: 'LOCKSTEP_CLOSED',
  });
  await vi.waitFor(() => expect(vanished).toHaveBeenCalledTimes(2), PATIENCE);
  await pg.close();
  await closed;
  expect(await knex.raw('SELECT 1').then(() => 'answered')).toBe('answered');
});

test('a transaction that is never begun gives its connection up', async () => {
  await connected();
  proxy.halfOpen();
  const transaction = (): Promise<unknown> =>
    pg.transactions.transaction(async () => undefined, { timeoutMs: TIMEOUT_MS });
  await expect(transaction()).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_TIMEOUT' });
  await expect(transaction()).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_TIMEOUT' });
  await transaction();
  await worksAgain();
});
