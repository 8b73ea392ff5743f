import type { Change } from '@lockstep/core';
import { expect, test } from 'vitest';
import { testServer } from './support/database.js';
import { sceneOn } from './support/roles.js';

const server = testServer();
const SHARED = { holeTtlMs: 1_000, holeOnEmpty: false };

/** Two attached tables; on the first a role runs Lockstep that knows nothing of the second. */
async function twoTables() {
  const at = await sceneOn(server);
  await at.knex.raw('CREATE TABLE theirs (id int PRIMARY KEY); CREATE TABLE ours (id int PRIMARY KEY)');
  await at.pg.attach(at.pg.table('theirs', { key: 'id' }), { grantTo: [at.low] });
  await at.pg.attach(at.pg.table('ours', { key: 'id' }));
  const sources = ['public.theirs', 'public.ours'];
  await at.pg.feed.registry.register(
    'c',
    sources.map((source) => ({ ...SHARED, name: source, source, keyPrefix: `c:${source}:` })),
  );
  return { ...at, low: at.asLow(), sources };
}

test.each([
  ['no key', `ARRAY['1', NULL], ARRAY[4, 4]`],
  ['keys of two dimensions', `ARRAY[ARRAY['1'], ARRAY['2']], ARRAY[4, 4]`],
  ['no versions', `ARRAY['1', '2'], ARRAY[NULL, NULL]::int8[]`],
  ['versions that nobody believes', `ARRAY['1', '2'], ARRAY[-9223372036854775808, 9223372036854775807]`],
])('a record with %s holds up no other table’s changes', async (_, arrays) => {
  const { knex, low, pg, sources } = await twoTables();
  await low.raw(`INSERT INTO lockstep.outbox (version, source, key, op, changed_at, keys, versions)
    VALUES (4, 'public.theirs', '1', 'p', 'infinity', ${arrays})`);
  await knex.raw('INSERT INTO ours VALUES (7)');
  const over = new AbortController();
  const seen: Change[] = [];
  const errors: unknown[] = [];
  const take = async (changes: readonly Change[]): Promise<void> => {
    seen.push(...changes);
    if (changes.some(({ source }) => source === 'public.ours')) over.abort();
  };
  const onError = (error: unknown): void => {
    errors.push(error);
    over.abort();
  };
  await pg.feed.consume(take, { sources, signal: over.signal, onError });
  expect(errors).toEqual([]);
  expect(seen.filter(({ source }) => source === 'public.ours')).toMatchObject([{ key: '7' }]);
  expect(seen.every(({ version }) => Number.isSafeInteger(version) && version > 0)).toBe(true);
  expect(seen.every(({ key }) => typeof key === 'string' && key.length > 0)).toBe(true);
});

test.each([
  ['no collections', `collections = 'null'`, true],
  ['a text for collections', `collections = '"c"'`, true],
  ['collections without a prefix', `collections = '{"x": null, "y": {}, "z": {"keyPrefix": 1}}'`, true],
  ['a revision that no number is exact for', 'revision = 9223372036854775807', false],
  ['an epoch that no number is exact for', 'epoch = 9223372036854775806', false],
])('a registry record with %s concerns its own table only', async (_, set, isRecord) => {
  const { low, pg, sources } = await twoTables();
  await low.raw(`UPDATE lockstep.consumer SET ${set}`);
  const { registry } = pg.feed;
  const expected = isRecord ? sources : ['public.ours'];
  for (const records of [await registry.read('c', sources), await registry.observe('c', sources, 'one')]) {
    expect(records.map(({ source }) => source).sort()).toEqual([...expected].sort());
    expect(records.find(({ source }) => source === 'public.ours')?.collections).toHaveLength(1);
    expect(records.find(({ source }) => source === 'public.theirs')?.collections ?? []).toEqual([]);
  }
  if (!isRecord) return;
  // Whoever keeps the table in step records it again.
  const again = { ...SHARED, name: 'a', source: 'public.theirs', keyPrefix: 'c:a:' };
  const [record] = await registry.register('c', [again]);
  expect(record?.collections).toEqual([again]);
});
