// Upserts per second, ours against knex's own. Needs POSTGRES_URL (its user may create databases) and a
// built package: `POSTGRES_URL=… node bench/upserts.mjs`. Not part of CI.
import knexPackage from 'knex';
import { postgresStore } from '../dist/index.js';

const { knex: createKnex } = knexPackage;
const url = process.env.POSTGRES_URL;
if (!url) throw new Error('set POSTGRES_URL');
const seconds = Number(process.env.SECONDS ?? 2);
const rounds = Number(process.env.ROUNDS ?? 3);
const ROWS = 10_000;
const schema = `bench_${process.pid}`;

const knex = createKnex({ client: 'pg', connection: url, pool: { min: 0, max: 10 } });
const pg = postgresStore({ knex });
const ours = pg.table('ours', { key: 'id', schema });

const row = (id) => ({
  id,
  name: `product ${id}`,
  price: '12.34',
  stock: id % 100,
  data: { size: 'M', tags: ['a', 'b'], text: 'x'.repeat(100) },
  updated: new Date(),
});
const random = () => 1 + Math.floor(Math.random() * ROWS);
function distinct(n) {
  const ids = new Set();
  while (ids.size < n) ids.add(random());
  return [...ids].map(row);
}

const call = { timeoutMs: 30_000 };
const lockstep = async (rows) => {
  const outcomes = await ours.write(
    rows.map((value) => ({ kind: 'put', key: String(value.id), value, above: 0 })),
    call,
  );
  for (const outcome of outcomes) if (outcome.kind !== 'written') throw new Error(JSON.stringify(outcome));
  ours.feed.acknowledge(
    outcomes.map((outcome) => ({
      source: ours.source,
      key: String(outcome.value.id),
      version: outcome.version,
    })),
  );
};
const plain = async (rows) => {
  const values = rows.map((value) => ({ ...value, data: JSON.stringify(value.data) }));
  await knex('theirs').withSchema(schema).insert(values).onConflict('id').merge().returning('*');
};

async function measure(write, n, writers) {
  const times = [];
  const end = performance.now() + seconds * 1000;
  let rows = 0;
  const started = performance.now();
  const loop = async () => {
    while (performance.now() < end) {
      const batch = distinct(n);
      const at = performance.now();
      await write(batch);
      times.push(performance.now() - at);
      rows += n;
    }
  };
  await Promise.all(Array.from({ length: writers }, loop));
  times.sort((a, b) => a - b);
  return { perSecond: rows / ((performance.now() - started) / 1000), p50: times[times.length >> 1] };
}

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];

try {
  const columns =
    'id int PRIMARY KEY, name text NOT NULL, price numeric(10,2), stock int, data jsonb, updated timestamptz';
  await knex.raw(
    `CREATE SCHEMA ${schema}; CREATE TABLE ${schema}.ours (${columns}); CREATE TABLE ${schema}.theirs (${columns})`,
  );
  await pg.attach(ours);
  await ours.open();
  for (let id = 1; id <= ROWS; id += 500) {
    const rows = Array.from({ length: 500 }, (_, n) => row(id + n));
    await lockstep(rows);
    await plain(rows);
  }
  await knex.raw(`ANALYZE ${schema}.ours; ANALYZE ${schema}.theirs`);
  for (const [title, n, writers] of [
    ['lone, 1 writer', 1, 1],
    ['lone, 8 writers', 1, 8],
    ['batches of 50, 1 writer', 50, 1],
    ['batches of 256, 1 writer', 256, 1],
    ['batches of 256, 2 writers', 256, 2],
  ]) {
    const results = { ours: [], theirs: [] };
    // Turn about, so that a noisy machine is noisy for both.
    for (let round = 0; round < rounds; round++) {
      results.ours.push(await measure(lockstep, n, writers));
      results.theirs.push(
        await measure(plain, n, writers).catch((error) => ({ perSecond: 0, p50: 0, error })),
      );
    }
    const of = (name, field) => median(results[name].map((result) => result[field]));
    console.log(
      `${title}: lockstep ${Math.round(of('ours', 'perSecond'))} rows/s (p50 ${of('ours', 'p50').toFixed(2)} ms), ` +
        `knex ${Math.round(of('theirs', 'perSecond'))} rows/s (p50 ${of('theirs', 'p50').toFixed(2)} ms)`,
    );
  }
} finally {
  await pg.close();
  await pg.detach(ours).catch(() => undefined);
  await knex.raw(`DROP SCHEMA IF EXISTS ${schema} CASCADE`);
  await knex.destroy();
}
