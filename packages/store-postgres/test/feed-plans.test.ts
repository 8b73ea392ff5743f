import { systemClock } from '@lockstep/core';
import { afterEach, expect, test } from 'vitest';
import { ClaimStart, LOWEST } from '../src/feed/claim-start.js';
import { testServer } from './support/database.js';
import { type Call, connectTo, SentStatements, touchedBy } from './support/statements.js';

const server = testServer({ autovacuum: false });
const sent = new SentStatements();
const SOURCE = 'public.t';
const BATCH = 20;
const ending: AbortController[] = [];

afterEach(() => {
  for (const each of ending) each.abort();
});

/** A table with a backlog of so many changes by somebody else, and what its consumer has sent for the first of them. */
async function backlog(changes: number) {
  if (server.service === undefined) throw new Error('no server');
  const { url } = await server.service.database();
  const { pg, knex } = server.store({ knex: server.knex(url), feed: { listen: false } });
  await knex.raw('CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL)');
  await pg.attach(pg.table('t', { key: 'id' }));
  const collection = { name: 't', source: SOURCE, keyPrefix: 'c:t:', holeTtlMs: 1_000, holeOnEmpty: false };
  const [state] = await pg.feed.registry.register('c', [collection]);
  const record = async (from: number): Promise<void> => {
    await knex.raw(
      `INSERT INTO lockstep.outbox (version, source, key, op) SELECT 4 * g, ?, g::text, 'p' FROM generate_series(?::int, ?::int) g`,
      [SOURCE, from, from + changes - 1],
    );
  };
  await record(1);
  const over = new AbortController();
  ending.push(over);
  const batches = Promise.withResolvers<void>();
  let handled = 0;
  sent.calls = [];
  const consuming = pg.feed.consume(
    async (batch) => {
      handled += batch.length;
      if (handled >= 10 * BATCH) {
        over.abort();
        batches.resolve();
      }
    },
    {
      signal: over.signal,
      sources: [SOURCE],
      batchSize: BATCH,
      claimant: { consumer: 'c', state: () => state, differs: async () => undefined },
    },
  );
  await batches.promise;
  await consuming;
  const calls = sent.calls.filter(({ text }) => /lockstep\.(outbox|tombstone)|set_config/.test(text));
  return { url, knex, calls };
}

/** One transaction of those calls: its settings, a claim, and that its rows are taken. */
function oneClaim(calls: readonly Call[]): { settings: Call; claim: Call; take: Call } {
  const find = (part: string): Call => {
    const found = calls.find(({ text }) => text.includes(part));
    if (found === undefined) throw new Error(`no statement with ${part}`);
    return found;
  };
  return {
    settings: find('set_config'),
    claim: find('FOR UPDATE SKIP LOCKED'),
    take: find('DELETE FROM lockstep.outbox'),
  };
}

test.each(['without statistics', 'with statistics'])(
  'a claim touches what it takes, %s, however much waits',
  async (what) => {
    const { calls, knex, url } = await backlog(20_000);
    if (what === 'with statistics') await knex.raw('VACUUM ANALYZE lockstep.outbox');
    const { claim, settings, take } = oneClaim(calls);
    const client = await connectTo(url);
    const { feed } = await touchedBy(client, async () => {
      const run = ({ text, values }: Call) =>
        client.query<{ place: string }>({ name: '', text, values: [...values] });
      await run(settings);
      const { rows } = await run(claim);
      expect(rows).toHaveLength(BATCH);
      const places = `{${rows.map(({ place }) => `"${place}"`).join(',')}}`;
      await run({
        ...take,
        values: take.values.map((value) => (String(value).startsWith('{"(') ? places : value)),
      });
    });
    expect(feed).toBeLessThanOrEqual(20 + 10 * BATCH);
    await client.end();
  },
);

test('of rows that were taken while an old transaction is open, only a claim of all looks at the dead', async () => {
  const { calls, knex, url } = await backlog(10 * BATCH);
  const { claim, settings } = oneClaim(calls);
  const old = await connectTo(url);
  await old.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
  await old.query('SELECT 1');
  const micros = "(date_part('epoch', clock_timestamp()) * 1e6)::int8";
  await knex.raw(`INSERT INTO lockstep.outbox (version, source, key, op)
    SELECT (${micros} - 60e6::int8 - g) & -4, '${SOURCE}', g::text, 'p' FROM generate_series(1, 30000) g`);
  await knex.raw('DELETE FROM lockstep.outbox');
  await knex.raw(`INSERT INTO lockstep.outbox (version, source, key, op)
    SELECT ${micros} & -4, '${SOURCE}', g::text, 'p' FROM generate_series(1, ${BATCH}) g`);
  const client = await connectTo(url);
  const claimed = async (from: unknown): Promise<number> => {
    const values = claim.values.map((value) => (value === LOWEST.version ? from : value));
    // The place in the order has two parts, of which the first says where to begin.
    const second = claim.values.lastIndexOf(LOWEST.version);
    values[second] = LOWEST.version;
    const { feed } = await touchedBy(client, async () => {
      await client.query({ name: '', text: settings.text, values: [...settings.values] });
      const { rows } = await client.query({ name: '', text: claim.text, values });
      expect(rows).toHaveLength(BATCH);
    });
    return feed;
  };
  expect(await claimed(null)).toBeLessThanOrEqual(20 + 10 * BATCH);
  expect(await claimed(LOWEST.version)).toBeGreaterThan(20 + 10 * BATCH);
  await old.query('COMMIT');
  await old.end();
  await client.end();
});

test('what nobody needs is looked for in a part of the outbox, and among the oldest tombstones', async () => {
  const { calls, knex, url } = await backlog(40_000);
  await knex.raw(
    `INSERT INTO lockstep.tombstone SELECT '${SOURCE}', 'k' || g, (date_part('epoch', clock_timestamp()) * 1e6)::int8 FROM generate_series(1, 40000) g`,
  );
  await knex.raw('VACUUM ANALYZE lockstep.outbox, lockstep.tombstone');
  const client = await connectTo(url);
  const { settings } = oneClaim(calls);
  const of = (part: string): Call => {
    const found = calls.find(({ text }) => text.includes(part));
    if (found === undefined) throw new Error(`no statement with ${part}`);
    return found;
  };
  for (const part of ['lockstep.tombstone d', 'OFFSET', 'o.done IS NOT NULL', 'absent a']) {
    const { feed } = await touchedBy(client, async () => {
      for (const { text, values } of [settings, of(part)])
        await client.query({ name: '', text, values: [...values] });
    });
    // 5,000 of 40,000 rows lie on some 60 pages, and their entries of the index on 30.
    expect(feed, part).toBeLessThanOrEqual(150);
  }
  await client.end();
});

test('claims of all are rare where they take long, and the others go on where the last came to', () => {
  let nowMs = 0;
  const start = new ClaimStart({ ...systemClock, monotonic: () => nowMs });
  expect(start.next).toBe(LOWEST);
  start.searched(20);
  start.ended(undefined);
  expect(start.next).toBe(LOWEST);
  start.searched(100);
  expect(start.next).toBeUndefined();
  const reached = { version: '8', id: '1' };
  start.ended(reached);
  expect(start.next).toBe(reached);
  nowMs = 399;
  expect(start.next).toBe(reached);
  nowMs = 400;
  expect(start.next).toBe(LOWEST);
  start.searched(10_000);
  nowMs = 1_399;
  expect(start.next).toBe(reached);
  start.failed();
  expect(start.next).toBe(LOWEST);
  start.searched(10_000);
  nowMs = 2_399;
  expect(start.next).toBe(LOWEST);
});
