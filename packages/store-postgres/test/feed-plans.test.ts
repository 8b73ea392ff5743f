import { afterEach, expect, test } from 'vitest';
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
  const calls = sent.calls.filter(
    ({ text }) => text.includes('lockstep.outbox') || text.includes('set_config'),
  );
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
