import { type CacheAdapter, createLockstep } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import { expect, test } from 'vitest';
import { testServer } from './support/database.js';

const server = testServer();
const ROWS = 5_000;

/** A cache that is shared, as a server is. */
function sharedCache(): CacheAdapter {
  const info = async () => ({ evicts: false, generation: 'first', description: 'a server' });
  return { ...memoryCache(), shared: true, info };
}

/** One whose first search fails: nobody can tell whether it holds anything of the table. */
function unsearchable(): CacheAdapter {
  const cache = sharedCache();
  let searched = false;
  return {
    ...cache,
    async *scan(prefix, encoding) {
      if (!searched) {
        searched = true;
        throw new Error('busy');
      }
      yield* cache.scan(prefix, encoding);
    },
  };
}

/** Rows of the table that statements have read so far. Each connection tells when it ends, so there must be no other. */
async function rowsRead(url: string): Promise<number> {
  const knex = server.knex(url);
  const { rows } = await knex.raw<{ rows: { n: string }[] }>(
    `SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) AS n FROM pg_stat_user_tables WHERE relname = 't'`,
  );
  await knex.destroy();
  return Number(rows[0]?.n);
}

test.each([
  { what: 'whose cache holds nothing', cache: sharedCache, before: 0 },
  { what: 'whose applications have cached rows since they opened', cache: sharedCache, before: 3 },
  { what: 'whose cache could not be searched', cache: unsearchable, before: 3 },
])('the first start of a relay $what reads no row of the table', async ({ before, cache }) => {
  if (server.service === undefined) throw new Error('no server');
  const { url } = await server.service.database();
  const filling = server.store({ knex: server.knex(url) });
  await filling.knex.raw(`CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL);
    INSERT INTO t SELECT g, g FROM generate_series(1, ${ROWS}) g`);
  await filling.pg.attach(filling.pg.table('t', { key: 'id' }));
  await filling.knex.destroy();
  const atFirst = await rowsRead(url);
  const { pg, knex } = server.store({ knex: server.knex(url) });
  const lockstep = createLockstep({ cache: cache() });
  const store = pg.table<{ id: number; n: number }, number>('t', { key: 'id' });
  const rows = lockstep.collection({ name: 't', store, ttlMs: 60_000 });
  for (let id = 1; id <= before; id++) await rows.get(id);
  const handled = Promise.withResolvers<void>();
  lockstep.events.on('relay', () => handled.resolve());
  const relay = lockstep.startRelay();
  const replayed = async () => (await pg.feed.registry.read('wtc', [store.source]))[0]?.replayed;
  await expect.poll(replayed).toBe(true);
  await knex.raw('INSERT INTO t VALUES (0, 0)');
  await handled.promise;
  await relay.stop();
  await lockstep.close();
  await knex.destroy();
  expect(await rowsRead(url)).toBe(atFirst + before);
});
