import {
  type Change,
  type ColumnTexts,
  createLockstep,
  type Lockstep,
  type StoreCommand,
} from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import {
  type ClientSession,
  type Collection,
  Decimal128,
  Double,
  Int32,
  Long,
  type MongoClient,
  ObjectId,
} from 'mongodb';
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { MongoCollection } from '../src/rows/collection.js';
import type { MongoStore } from '../src/store.js';
import { Consumer, until } from './support/consumer.js';
import { CALL, testServer } from './support/server.js';

interface Member {
  readonly _id: string;
  readonly email?: string | null;
  readonly tenant: number;
  readonly slug: string;
}

const server = testServer();
const UNIQUE = ['email', ['tenant', 'slug']] as const;
const PATIENCE = { timeout: 60_000, interval: 10 } as const;
let client: MongoClient;
let mongo: MongoStore;
let raw: Collection<Member>;
let members: MongoCollection<Member, string>;
let tagged: MongoCollection<Member, string>;
let rawTagged: Collection<Member>;
let kept: Collection;
const opened: Lockstep[] = [];

beforeAll(async () => {
  client = await server.client();
  mongo = await server.store({ client });
  const db = client.db(server.service.databaseName);
  raw = db.collection<Member>('members');
  rawTagged = db.collection<Member>('tagged');
  kept = db.collection('lockstep_tombstones');
  await raw.createIndex({ email: 1 }, { unique: true, sparse: true });
  await raw.createIndex({ slug: 1, tenant: 1 }, { unique: true });
  members = mongo.collection<Member, string>('members');
  tagged = mongo.collection<Member, string>('tagged');
  await mongo.attach(members, { unique: UNIQUE });
  await mongo.attach(tagged, { tags: ['tenant', ['tenant', 'slug']] });
  await Promise.all([members.open(), tagged.open()]);
});

beforeEach(async () => {
  // The kept tags go, too: the rows of one test are not those of the one before.
  await Promise.all([raw.deleteMany({}), rawTagged.deleteMany({}), kept.deleteMany({})]);
});

afterEach(async () => {
  for (const lockstep of opened.splice(0)) await lockstep.close();
});

const member = (_id: string, email: string | null, slug: string, tenant = 1): Member => ({
  _id,
  email,
  tenant,
  slug,
});
const texts = (tenant: number, slug: string): ColumnTexts => ({ tenant: `=~${tenant}`, slug: `=${slug}` });

async function write(store: MongoCollection<Member, string>, ...commands: StoreCommand<Member>[]) {
  return (await store.write(commands, CALL)).map((outcome) => {
    if (outcome.kind !== 'written') throw new Error(JSON.stringify(outcome));
    return outcome.texts;
  });
}

const put = (value: Member): StoreCommand<Member> => ({ kind: 'put', key: value._id, value, above: 0 });

describe('outcomes of writes tell the values of declared fields', () => {
  test('unique ones: what the row gets', async () => {
    const told = await write(members, put(member('1', 'a@b', 'x')), put(member('2', null, 'y')));
    expect(told).toEqual([
      [{ email: '=a@b', tenant: '=~1', slug: '=x' }],
      [{ email: null, tenant: '=~1', slug: '=y' }],
    ]);
    expect(await write(members, { kind: 'delete', key: '1', above: 0 })).toEqual([[]]);
  });

  test('tags: what the row had, too, whatever the command', async () => {
    expect(await write(tagged, put(member('1', null, 'x')))).toEqual([[texts(1, 'x')]]);
    const told = await write(
      tagged,
      put(member('1', null, 'y', 2)),
      put(member('2', null, 'z')),
      put(member('3', null, 'z')),
    );
    expect(told).toEqual([[texts(1, 'x'), texts(2, 'y')], [texts(1, 'z')], [texts(1, 'z')]]);
    const rest = await write(
      tagged,
      { kind: 'patch', key: '1', set: { slug: 'p' }, above: 0 },
      { kind: 'delete', key: '2', above: 0 },
      { kind: 'increment', key: '3', field: 'tenant', by: 2, above: 0 },
    );
    expect(rest).toEqual([[texts(2, 'y'), texts(2, 'p')], [texts(1, 'z')], [texts(1, 'z'), texts(3, 'z')]]);
  });

  test('tags: of writes of one row side by side, each tells what it has found', async () => {
    const slugs = Array.from({ length: 8 }, (_, n) => `s${n}`);
    const told = await Promise.all(
      slugs.map(async (slug) => (await write(tagged, put(member('1', null, slug))))[0]),
    );
    const found = told.flatMap((each) => (each?.length === 2 ? each.slice(0, 1) : []));
    const left = told.map((each) => each?.at(-1));
    // One has inserted the row; each of the others has found what another one has left, no two the same.
    expect(found).toHaveLength(slugs.length - 1);
    expect(new Set(found.map((each) => each['slug'])).size).toBe(slugs.length - 1);
    for (const each of found) expect(left).toContainEqual(each);
  });

  test('of a transaction: what it found and leaves', async () => {
    await write(tagged, put(member('1', null, 'x')));
    await mongo.transactions.transaction(async (tx) => {
      await tagged.write([put(member('1', null, 'between'))], { ...CALL, tx });
      await tagged.write([put(member('1', null, 'y', 2))], { ...CALL, tx });
      await rawTagged.insertOne(member('2', null, 'own'), { session: tx.client as ClientSession });
      await mongo.noteChanges(tx.client as ClientSession, tagged, ['2']);
      const changes = await tx.changes();
      expect(changes.map(({ key, texts: each }) => [key, each]).sort()).toEqual([
        ['1', [texts(1, 'x'), texts(2, 'y')]],
        ['2', [texts(1, 'own')]],
      ]);
    }, CALL);
  });
});

describe('the feed tells the values of fields that its consumers name', () => {
  test('what rows have, and by pre-images what they had', async () => {
    const source = tagged.source;
    const columns = (): string[] => ['tenant', 'slug'];
    const consumer = new Consumer(mongo.feed, [source], { columns });
    await until(async () => {
      await rawTagged.replaceOne({ _id: '0' }, member('0', null, 'x'), { upsert: true });
      return consumer.newest('0');
    });
    await rawTagged.insertOne(member('f', null, 'a'));
    const inserted = await consumer.tookAbove('f', 0);
    expect(inserted.texts).toEqual([texts(1, 'a')]);
    await rawTagged.updateOne({ _id: 'f' }, { $set: { slug: 'b' } });
    const updated = await consumer.tookAbove('f', inserted.version);
    expect(updated.texts).toContainEqual(texts(1, 'a'));
    expect(updated.texts?.at(-1)).toEqual(texts(1, 'b'));
    await rawTagged.deleteOne({ _id: 'f' });
    const deleted = await consumer.tookAbove('f', updated.version);
    expect(deleted).toMatchObject({ op: 'delete', texts: [texts(1, 'b')] });
    // A writer that died before it could tell anybody.
    await write(tagged, put(member('f', null, 'c')));
    const version = await until(() => {
      const newest = consumer.newest('f');
      return newest?.op === 'put' ? newest : undefined;
    });
    expect(version.texts).toEqual([texts(1, 'c')]);
    await tagged.write([{ kind: 'delete', key: 'f', above: 0 }], CALL);
    // Its tombstone tells of the delete at once, and the event of the row, which may come apart from it, what the row had.
    const own = await until(() =>
      consumer.taken.find(
        (change) => change.op === 'delete' && change.version > version.version && change.texts?.length !== 0,
      ),
    );
    expect(own).toMatchObject({ key: 'f', texts: [texts(1, 'c')] });
    await consumer.stop();
    expect(consumer.errors).toEqual([]);
  });

  test('also of fields that are named while it is read already', async () => {
    let columns: string[] = [];
    const consumer = new Consumer(mongo.feed, [tagged.source], { columns: () => columns });
    await until(async () => {
      await rawTagged.replaceOne({ _id: '0' }, member('0', null, 'x'), { upsert: true });
      return consumer.newest('0');
    });
    columns = ['slug'];
    await rawTagged.insertOne(member('5', null, 'a'));
    await rawTagged.updateOne({ _id: '5' }, { $set: { slug: 'b' } });
    await vi.waitFor(() => {
      const told = consumer.taken
        .filter(({ key }) => key === '5')
        .flatMap((change: Change) => change.texts ?? []);
      expect(told).toContainEqual({ slug: '=a' });
      expect(told).toContainEqual({ slug: '=b' });
    }, PATIENCE);
    await consumer.stop();
  });

  test('of rows that are replayed, as they are', async () => {
    await write(members, put(member('1', 'a@b', 'x')));
    const taken: Change[] = [];
    const handler = async (changes: readonly Change[]): Promise<void> => void taken.push(...changes);
    const since = new Map([[members.source, [String(Date.now() - 1_000)]]]);
    const columns = (): string[] => ['email'];
    await mongo.feed.replay(since, handler, {
      signal: new AbortController().signal,
      sources: [members.source],
      columns,
    });
    expect(taken.find(({ key }) => key === '1')?.texts).toEqual([{ email: '=a@b' }]);
  });
});

describe('declarations', () => {
  test('equal values have one text, and lists none', () => {
    const text = (value: unknown): unknown => members.declared?.textOf('tenant', value);
    expect(
      new Set(
        [7, 7n, new Int32(7), Long.fromNumber(7), new Double(7), Decimal128.fromString('7.0')].map(text),
      ).size,
    ).toBe(1);
    expect(text('7')).not.toBe(text(7));
    expect(text(undefined)).toBeNull();
    expect(text('x'.repeat(5_000))).toMatch(/^#/);
    expect(() => text(['a'])).toThrow(/field "tenant"/);
  });

  test('are refused by what mends them', async () => {
    const odd = mongo.collection('odd');
    const db = client.db(server.service.databaseName);
    await mongo.attach(odd);
    await expect(mongo.attach(odd, { unique: ['a'] })).rejects.toThrow(
      /createIndex\({ "a": 1 }, { unique: true }\)/,
    );
    await db
      .collection('odd')
      .createIndex({ a: 1 }, { unique: true, partialFilterExpression: { a: { $exists: true } } });
    await expect(mongo.attach(odd, { unique: ['a'] })).rejects.toThrow(/not partial/);
    await db
      .collection('odd')
      .createIndex({ b: 1 }, { unique: true, collation: { locale: 'en', strength: 2 } });
    await expect(mongo.attach(odd, { unique: ['b'] })).rejects.toThrow(/without a collation/);
    await db.collection('odd').createIndex({ c: 1 }, { unique: true });
    await odd.open();
    await expect(odd.declared?.check({ unique: [['c']] })).rejects.toThrow(
      /mongo\.attach\(collection, { unique: \[\['c'\]\] }\)/,
    );
    await mongo.attach(odd, { unique: ['c'] });
    await odd.declared?.check({ unique: [['c']] });
    await expect(mongo.attach(odd, { tags: ['a.b'] })).rejects.toThrow(/top level/);
  });

  test('open warns where tags lack pre-images', async () => {
    const db = client.db(server.service.databaseName);
    await db.createCollection('blind');
    const blind = mongo.collection('blind');
    await mongo.attach(blind, { tags: ['a'] });
    const warnings: unknown[] = [];
    const onWarning = (warning: unknown): void => void warnings.push(warning);
    await blind.open({ onWarning });
    expect(warnings).toEqual([]);
    await db.command({ collMod: 'blind', changeStreamPreAndPostImages: { enabled: false } });
    await blind.open({ onWarning });
    expect(String(warnings[0])).toMatch(/changeStreamPreAndPostImages.*mongo\.attach/);
  });
});

describe('rows by a unique value', () => {
  /** Two processes over one cache. */
  async function processes() {
    const cache = memoryCache();
    const start = async () => {
      const lockstep = createLockstep({ cache });
      opened.push(lockstep);
      const store = (await server.store({ client: await server.client() })).collection<Member, string>(
        'members',
      );
      return { lockstep, rows: lockstep.collection({ name: 'members', store, unique: UNIQUE }) };
    };
    return [await start(), await start()] as const;
  }

  test('are found after each acknowledged write by what they have (G2), and after others’ within the lag (G6)', async () => {
    const [one, two] = await processes();
    const found = async (email: string) =>
      (await Promise.all([one, two].map(({ rows }) => rows.getBy('email', email)))).map((row) => row?.slug);
    expect(await found('a@b')).toEqual([undefined, undefined]);
    expect(await one.rows.put('1', member('1', 'a@b', 'one'))).toMatchObject({ cache: 'updated' });
    expect(await found('a@b')).toEqual(['one', 'one']);
    expect(await two.rows.getBy(['tenant', 'slug'], { slug: 'one', tenant: 1 })).toMatchObject({ _id: '1' });
    await two.rows.patch('1', { email: 'c@d' });
    expect(await found('a@b')).toEqual([undefined, undefined]);
    expect(await found('c@d')).toEqual(['one', 'one']);
    await one.lockstep.transaction(async (tx) => {
      await one.rows.put('1', member('1', 'e@f', 'one'), { tx });
      await one.rows.put('2', member('2', 'c@d', 'two'), { tx });
      expect(await one.rows.getBy('email', 'c@d', { tx })).toMatchObject({ _id: '2' });
    });
    expect(await found('c@d')).toEqual(['two', 'two']);
    expect(await found('e@f')).toEqual(['one', 'one']);
    await two.rows.delete('2');
    expect(await found('c@d')).toEqual([undefined, undefined]);
    expect(await one.rows.getManyBy('email', ['e@f', 'no', 'c@d'])).toMatchObject([
      { _id: '1' },
      undefined,
      undefined,
    ]);

    const relay = two.lockstep.startRelay();
    await raw.updateOne({ _id: '1' }, { $set: { email: 'c@d' } });
    await vi.waitFor(
      async () =>
        expect([await found('c@d'), await found('e@f')]).toEqual([
          ['one', 'one'],
          [undefined, undefined],
        ]),
      PATIENCE,
    );
    await relay.stop();
  });

  test('with ids and values of any kind', async () => {
    const id = new ObjectId();
    await raw.insertOne({ _id: id as never, email: 'list', tenant: 5, slug: 's' });
    await raw.insertOne({ _id: 'l', email: ['a', 'b'] as never, tenant: 6, slug: 't' });
    const [{ rows }] = await processes();
    expect(await rows.getBy(['tenant', 'slug'], { tenant: 5n as never, slug: 's' })).toMatchObject({
      email: 'list',
    });
    // One of a list's values is not the row's.
    expect(await rows.getBy('email', 'a')).toBeUndefined();
  });
});
