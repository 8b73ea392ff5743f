import type { Change, ConsumerRecord } from '@lockstep/core';
import type { Knex } from 'knex';
import { beforeAll, describe, expect, test } from 'vitest';
import type { PostgresStore, PostgresTable } from '../src/index.js';
import { CALL, testServer } from './support/database.js';

const server = testServer();

interface Item {
  readonly n: number;
}

let pg: PostgresStore;
let knex: Knex;
let names = 0;

beforeAll(() => {
  ({ pg, knex } = server.store());
});

/** A table of its own, attached and opened, with a consumer. */
async function open() {
  const name = `t${++names}`;
  await knex.raw(`CREATE TABLE ${name} (id int PRIMARY KEY, n int)`);
  const table = pg.table<Item>(name, { key: 'id' }) as PostgresTable<Item, number>;
  await pg.attach(table);
  await table.open();
  const { source } = table;
  const collection = { name, source, keyPrefix: `${name}:`, holeTtlMs: 1_000, holeOnEmpty: false };
  const { registry } = pg.feed;
  await registry.register('c', [collection]);
  const observe = async (identity = 'one'): Promise<ConsumerRecord> => {
    const [record] = await registry.observe('c', [source], identity);
    if (record === undefined) throw new Error('no record');
    return record;
  };
  const replay = async (position: string | undefined) => {
    const [keys, resets] = [[] as string[], [] as string[]];
    const take = async (changes: readonly Change[]): Promise<void> => {
      keys.push(...changes.map(({ key }) => key));
    };
    const options = {
      sources: [source],
      signal: AbortSignal.timeout(30_000),
      onReset: async (of: string) => void resets.push(of),
    };
    await pg.feed.replay(new Map(position === undefined ? [] : [[source, [position]]]), take, options);
    return { keys: keys.sort(), resets };
  };
  const put = (id: number) =>
    table.write([{ kind: 'put', key: String(id), value: { n: id }, above: 0 }], CALL);
  const emptyFeed = () => knex.raw('DELETE FROM lockstep.outbox WHERE source = ?', [source]);
  return { name, table, source, observe, replay, put, emptyFeed };
}

describe('a replay', () => {
  test('reaches back to the oldest transaction that was open, however long ago it wrote (G5)', async () => {
    const { emptyFeed, name, observe, put, replay } = await open();
    await put(1);
    await emptyFeed();
    const transaction = await knex.transaction();
    await transaction.raw(`INSERT INTO ${name} (id, n) VALUES (2, 2)`);
    await transaction.raw('SAVEPOINT s');
    await transaction.raw(`INSERT INTO ${name} (id, n) VALUES (3, 3)`);
    await transaction.raw('RELEASE s');
    const { position } = await observe();
    await transaction.commit();
    await emptyFeed();
    expect(await replay(position)).toEqual({ keys: ['2', '3'], resets: [] });
    const later = (await observe()).position;
    await put(4);
    await emptyFeed();
    expect(await replay(later)).toEqual({ keys: ['4'], resets: [] });
  });

  test('reaches back to what nobody had dealt with (G5)', async () => {
    const { emptyFeed, observe, put, replay } = await open();
    await put(1);
    await put(2);
    const { position } = await observe();
    await emptyFeed();
    await put(3);
    expect(await replay(position)).toEqual({ keys: ['1', '2', '3'], resets: [] });
  });

  test('beyond deletes that were forgotten it is a reset', async () => {
    const { emptyFeed, name, observe, put, replay, source } = await open();
    await put(1);
    await emptyFeed();
    const before = (await observe()).position;
    await knex.raw(`DELETE FROM ${name}`);
    await emptyFeed();
    const after = (await observe()).position;
    expect(await replay(before)).toEqual({ keys: ['1'], resets: [] });
    const { pg: later } = server.store({ feed: { retainMs: 60_000, pollMs: 10 } });
    // As if it were two hours old.
    await knex.raw('DELETE FROM lockstep.tombstone WHERE source = ?', [source]);
    const hour = 3_600_000_000;
    await knex.raw('INSERT INTO lockstep.tombstone (source, key, version) VALUES (?, ?, ?)', [
      source,
      '1',
      Date.now() * 1_000 - 2 * hour,
    ]);
    const ending = new AbortController();
    const consuming = later.feed.consume(async () => undefined, { sources: [source], signal: ending.signal });
    await expect
      .poll(async () => {
        const { rows } = await knex.raw('SELECT FROM lockstep.tombstone WHERE source = ?', [source]);
        return rows.length;
      })
      .toBe(0);
    ending.abort();
    await consuming;
    expect(await replay(before)).toEqual({ keys: [], resets: [source] });
    expect(await replay(after)).toEqual({ keys: [], resets: [source] });
    expect(await replay((await observe()).position)).toEqual({ keys: [], resets: [] });
  });

  test('of a table that was attached anew is a reset, under a new epoch', async () => {
    const { observe, put, replay, source, table } = await open();
    // Another table keeps the schema.
    await open();
    await put(1);
    const before = await observe();
    await pg.detach(table);
    await pg.attach(table);
    expect(await pg.feed.registry.read('c', [source])).toEqual([]);
    expect(await replay(before.position)).toEqual({ keys: [], resets: [source] });
  });

  test.each(['system', 'timeline'])('of another history (%s) is a reset, under a new epoch', async (what) => {
    const { observe, replay, source } = await open();
    const { epoch, position = '' } = await observe();
    const [system, timeline] = position.split('.');
    expect(position).toMatch(/^\d+\.[0-9A-F]{8}\.[0-9a-f-]{36}:\d+$/);
    // The record of before, as a restored database has it.
    const other =
      what === 'system'
        ? position.replace(system ?? '', '1')
        : position.replace(`.${timeline}.`, '.000000FF.');
    await knex.raw('UPDATE lockstep.consumer SET incarnation = ?, replayed = epoch WHERE source = ?', [
      other.slice(0, other.lastIndexOf(':')),
      source,
    ]);
    expect(await observe()).toMatchObject({ epoch: epoch + 1, identity: 'one', replayed: false });
    expect(await replay(other)).toEqual({ keys: [], resets: [source] });
  });
});

test('what everyone has dealt with goes, once one of them is recorded no more', async () => {
  const { observe, put, source } = await open();
  const other = { name: 'x', source, keyPrefix: 'x:', holeTtlMs: 1_000, holeOnEmpty: false };
  await pg.feed.registry.register('gone', [other]);
  const state = await observe();
  const [outcome] = await put(1);
  const version = outcome?.kind === 'written' ? outcome.version : 0;
  const left = async (): Promise<unknown[]> =>
    (await knex.raw('SELECT done FROM lockstep.outbox WHERE source = ?', [source])).rows;
  pg.feed.acknowledge([{ source, key: '1', version }], state);
  await expect.poll(left).toEqual([{ done: ['c'] }]);
  await knex.raw(`DELETE FROM lockstep.consumer WHERE consumer = 'gone'`);
  const { pg: reader } = server.store({ feed: { pollMs: 10 } });
  const ending = new AbortController();
  const claimant = { consumer: 'c', state: () => state, differs: async () => undefined };
  const consuming = reader.feed.consume(async () => undefined, {
    sources: [source],
    signal: ending.signal,
    claimant,
  });
  await expect.poll(left).toEqual([]);
  ending.abort();
  await consuming;
});

test('changes are kept for a consumer as long as its relay was seen within the retention; one that comes back replays them', async () => {
  const { observe, put, source } = await open();
  const { registry } = pg.feed;
  const collection = { name: 'x', source, keyPrefix: 'x:', holeTtlMs: 1_000, holeOnEmpty: false };
  await registry.register('gone', [collection]);
  const [gone] = await registry.observe('gone', [source], 'two');
  const epochs = new Map([[source, gone?.epoch ?? 0]]);
  await registry.lease('gone', epochs, 'holder', 1_000);
  await registry.replayed('gone', epochs, 'holder');
  const here = await observe();
  await put(1);
  await knex.raw("UPDATE lockstep.outbox SET changed_at = now() - interval '2 hours' WHERE source = ?", [
    source,
  ]);
  await knex.raw("UPDATE lockstep.consumer SET since = now() - interval '3 hours' WHERE source = ?", [
    source,
  ]);
  const left = async () =>
    (await knex.raw('SELECT done FROM lockstep.outbox WHERE source = ?', [source])).rows;
  const consume = (by: PostgresStore): (() => Promise<void>) => {
    const ending = new AbortController();
    const claimant = { consumer: 'c', state: () => here, differs: async () => undefined };
    const consuming = by.feed.consume(async () => undefined, {
      sources: [source],
      signal: ending.signal,
      claimant,
    });
    return async () => {
      ending.abort();
      await consuming;
    };
  };
  const end = consume(server.store({ feed: { retainMs: 60_000, pollMs: 10 } }).pg);
  await expect.poll(left).toEqual([{ done: ['c'] }]);
  await end();
  expect((await pg.feed.status([source], 'c')).pending).toBe(0);
  expect((await pg.feed.status([source], 'gone')).pending).toBe(1);
  const endAgain = consume(server.store({ feed: { retainMs: 60_000, pollMs: 10 } }).pg);
  await knex.raw(
    "UPDATE lockstep.consumer SET observed_at = now() - interval '1 hour' WHERE source = ? AND consumer = 'gone'",
    [source],
  );
  await endAgain();
  const endLast = consume(server.store({ feed: { retainMs: 60_000, pollMs: 10 } }).pg);
  await expect.poll(left).toEqual([]);
  await endLast();
  const [back] = await registry.observe('gone', [source], 'two');
  expect(back).toMatchObject({ epoch: (gone?.epoch ?? 0) + 1, replayed: false });
  expect((await observe()).epoch).toBe(here.epoch);
});

test('a source that is recorded while its cache is switched off is so, too, and no other cache', async () => {
  const [one, two, three] = [await open(), await open(), await open()];
  const { registry } = pg.feed;
  const recorded = ({ name, source }: typeof one) => [
    { name, source, keyPrefix: `${name}:`, holeTtlMs: 1_000, holeOnEmpty: false },
  ];
  await registry.register('off', recorded(one));
  expect(await registry.switch('off', true)).toEqual([one.source]);
  expect(await registry.register('off', recorded(two))).toMatchObject([{ switchedOff: true }]);
  expect(await registry.read('c', [one.source, two.source])).toMatchObject([
    { switchedOff: false },
    { switchedOff: false },
  ]);
  expect((await registry.switch('off', false)).toSorted()).toEqual([one.source, two.source].toSorted());
  expect(await registry.register('off', recorded(three))).toMatchObject([{ switchedOff: false }]);
});

test('a schema of an earlier release is upgraded by the next attach, and open() says so until then', async () => {
  const { knex: own } = server.store({
    knex: server.knex((await server.service?.database())?.url),
  });
  const { pg: store } = server.store({ knex: own });
  await own.raw('CREATE TABLE t (id int PRIMARY KEY, n int)');
  const table = store.table<Item>('t', { key: 'id' });
  await store.attach(table);
  const role = `app_${Date.now()}`;
  await own.raw(`CREATE ROLE ${role}; GRANT SELECT, INSERT, UPDATE, DELETE ON lockstep.outbox TO ${role}`);
  await own.raw(`DROP TABLE lockstep.consumer;
    ALTER TABLE lockstep.outbox DROP COLUMN done, DROP COLUMN before, DROP COLUMN after;
    ALTER TABLE lockstep.attached DROP COLUMN incarnation;
    UPDATE lockstep.attached SET fingerprint = 'of an earlier release'`);
  await expect(table.open()).rejects.toThrow(/was attached by an earlier release.*run attach for it/);
  await store.attach(table);
  await table.open();
  const { rows } = await own.raw('SELECT done, before, after FROM lockstep.outbox');
  expect(rows).toEqual([]);
  await own.raw(`ALTER TABLE lockstep.consumer DROP COLUMN ended, DROP COLUMN switched_off;
    UPDATE lockstep.attached SET fingerprint = 'of an earlier release'`);
  await store.attach(table);
  expect(await store.feed.registry.switch('c', true)).toEqual([]);
  const granted = await own.raw(
    `SELECT has_table_privilege('${role}', 'lockstep.consumer', 'INSERT') AS yes`,
  );
  expect(granted.rows).toEqual([{ yes: true }]);
  await own.raw(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
});
