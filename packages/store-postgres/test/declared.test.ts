import type { Change, ColumnTexts, StoreCommand } from '@lockstep/core';
import { declaredText } from '@lockstep/core/kit';
import type { Knex } from 'knex';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { PostgresStore, PostgresTable } from '../src/index.js';
import { CALL, positionsOf, testServer } from './support/database.js';

interface User {
  readonly id: number;
  readonly mail: string | null;
  readonly tenant: number;
  readonly slug: string;
  readonly visits?: number;
}

const server = testServer();
const SOURCE = 'public.users';
let knex: Knex;
let pg: PostgresStore;
let users: PostgresTable<User, number>;
/** Opened before the columns were declared. */
let earlier: PostgresTable<User, number>;

const DECLARED = { unique: ['mail', ['tenant', 'slug']], tags: ['tenant'] } as const;
const bind = (store: PostgresStore): PostgresTable<User, number> =>
  store.table<User, number>('users', { key: 'id', columns: { mail: 'email' } });

beforeAll(async () => {
  ({ knex, pg } = server.store());
  await knex.raw(`CREATE TABLE users (id int NOT NULL, email varchar(600) CONSTRAINT email UNIQUE, tenant int NOT NULL DEFAULT 1,
    slug text NOT NULL, visits int NOT NULL DEFAULT 0, PRIMARY KEY (id), UNIQUE (slug, tenant))`);
  earlier = bind(server.store().pg);
  await pg.attach(earlier);
  await earlier.open();
  users = bind(pg);
  await pg.attach(users, DECLARED);
  await users.open();
  await users.declared.check({ unique: [['mail'], ['tenant', 'slug']], tags: [['tenant']] });
});

beforeEach(async () => {
  await knex.raw('DELETE FROM users');
  await knex.raw('DELETE FROM lockstep.outbox');
});

const texts = (email: string | null, tenant: number, slug: string): ColumnTexts => ({
  email: email === null ? null : `=${email}`,
  tenant: `=${tenant}`,
  slug: `=${slug}`,
});

const user = (id: number, mail: string | null, slug = `u${id}`): User => ({ id, mail, tenant: 1, slug });

async function write(...commands: StoreCommand<User>[]) {
  return (await users.write(commands, CALL)).map((outcome) => {
    if (outcome.kind !== 'written') throw new Error(JSON.stringify(outcome));
    return outcome;
  });
}

const put = (value: User): StoreCommand<User> => ({ kind: 'put', key: String(value.id), value, above: 0 });

/** All that the feed holds, in the order of versions. */
async function taken(store = pg): Promise<readonly Change[]> {
  const ending = new AbortController();
  const all: Change[] = [];
  const handler = async (changes: readonly Change[]): Promise<void> => {
    all.push(...changes);
    const { rows } = await knex.raw<{ rows: { n: number }[] }>(
      'SELECT count(*)::int AS n FROM lockstep.outbox WHERE source = ?',
      [SOURCE],
    );
    if (all.length >= (rows[0]?.n ?? 0)) ending.abort();
  };
  await store.feed.consume(handler, { signal: ending.signal, sources: [SOURCE], batchSize: 10_000 });
  return all;
}

const told = (changes: readonly Change[]): unknown[] =>
  changes.map(({ key, op, texts: each }) => [key, op, each]);

describe('the feed tells what declared columns held and hold', () => {
  test('of foreign inserts, updates, upserts and deletes', async () => {
    await knex.raw(`INSERT INTO users (id, email, slug) VALUES (1, 'a@b', 'x'), (2, NULL, 'y')`);
    await knex.raw(`UPDATE users SET email = 'c@d' WHERE id = 1`);
    await knex.raw(
      `INSERT INTO users (id, email, slug) VALUES (2, 'e@f', 'y') ON CONFLICT (id) DO UPDATE SET email = EXCLUDED.email`,
    );
    await knex.raw('DELETE FROM users WHERE id = 1');
    expect(told(await taken())).toEqual([
      ['1', 'put', [texts('a@b', 1, 'x')]],
      ['2', 'put', [texts(null, 1, 'y')]],
      ['1', 'put', [texts('a@b', 1, 'x'), texts('c@d', 1, 'x')]],
      ['2', 'put', [texts(null, 1, 'y'), texts('e@f', 1, 'y')]],
      ['1', 'delete', [texts('c@d', 1, 'x')]],
    ]);
  });

  test('of a row that gets another key, for both', async () => {
    await knex.raw(`INSERT INTO users (id, email, slug) VALUES (1, 'a@b', 'x')`);
    await knex.raw('DELETE FROM lockstep.outbox');
    await knex.raw(`UPDATE users SET id = 9, email = 'c@d' WHERE id = 1`);
    expect(told(await taken())).toEqual([
      ['9', 'put', [texts('a@b', 1, 'x'), texts('c@d', 1, 'x')]],
      ['1', 'delete', [texts('a@b', 1, 'x')]],
    ]);
  });

  test('of TRUNCATE, for each row', async () => {
    await knex.raw(`INSERT INTO users (id, email, slug) VALUES (1, 'a@b', 'x'), (2, 'c@d', 'y')`);
    await knex.raw('DELETE FROM lockstep.outbox');
    await knex.raw('TRUNCATE users');
    expect(told(await taken()).sort()).toEqual([
      ['1', 'delete', [texts('a@b', 1, 'x')]],
      ['2', 'delete', [texts('c@d', 1, 'y')]],
    ]);
  });

  test('also of a process that opened the table before they were declared', async () => {
    const values = [user(1, 'a@b'), user(2, 'c@d')];
    const outcomes = await earlier.write(values.map(put), CALL);
    expect(outcomes.map((each) => each.kind === 'written' && each.texts)).toEqual([undefined, undefined]);
    const known = (await taken()).filter((change) => change.texts !== undefined);
    expect(told(known).sort()).toEqual([
      ['1', 'put', [texts('a@b', 1, 'u1')]],
      ['2', 'put', [texts('c@d', 1, 'u2')]],
    ]);
  });

  test('of rows that are replayed, as they are', async () => {
    const since = await positionsOf(pg, SOURCE);
    await knex.raw(`INSERT INTO users (id, email, slug) VALUES (1, 'a@b', 'x')`);
    await knex.raw('UPDATE users SET email = ? WHERE id = 1', ['what?']);
    const changes: Change[] = [];
    const handler = async (some: readonly Change[]): Promise<void> => void changes.push(...some);
    await pg.feed.replay(since, handler, { signal: new AbortController().signal, sources: [SOURCE] });
    const put = changes.filter(({ op }) => op === 'put');
    expect(told(put)).toEqual([['1', 'put', [texts('what?', 1, 'x')]]]);
  });

  test('of partitions, attached as one table', async () => {
    await knex.raw('CREATE TABLE parts (id int, tag text, PRIMARY KEY (id)) PARTITION BY RANGE (id)');
    await knex.raw('CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (10)');
    await knex.raw('CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (10) TO (100)');
    const { pg: store } = server.store({ feed: { graceMs: 0 } });
    const parts = store.table<{ id: number; tag: string }, number>('parts', { key: 'id' });
    await store.attach(parts, { tags: ['tag'] });
    await knex.raw(`INSERT INTO parts VALUES (1, 'a')`);
    await knex.raw('UPDATE parts SET id = 11 WHERE id = 1');
    await knex.raw('TRUNCATE parts_high');
    const { rows } = await knex.raw<{ rows: unknown[] }>(
      `SELECT key, op::text AS op, before, after FROM lockstep.outbox WHERE source = 'public.parts' ORDER BY id`,
    );
    const a = { tag: '=a' };
    // A row that moves is updated, deleted from one partition and inserted into another.
    expect(rows).toEqual([
      { key: '1', op: 'p', before: null, after: a },
      { key: '11', op: 'p', before: a, after: a },
      { key: '1', op: 'd', before: a, after: null },
      { key: '1', op: 'd', before: a, after: null },
      { key: '11', op: 'p', before: null, after: a },
      { key: '11', op: 'd', before: a, after: null },
    ]);
  });
});

describe('outcomes of writes tell what declared columns held and hold', () => {
  test('of one, and of a batch, whatever the commands', async () => {
    const [first] = await write(put(user(1, 'a@b')));
    expect(first?.texts).toEqual([texts('a@b', 1, 'u1')]);
    const [one, two] = await write(put(user(1, 'c@d')), put(user(2, null)));
    expect(one?.texts).toEqual([texts('a@b', 1, 'u1'), texts('c@d', 1, 'u1')]);
    expect(two?.texts).toEqual([texts(null, 1, 'u2')]);
    const rest = await write(
      { kind: 'patch', key: '1', set: { mail: 'e@f' }, above: 0 },
      { kind: 'delete', key: '2', above: 0 },
      put(user(3, 'x@y')),
    );
    expect(rest.map((each) => each.texts)).toEqual([
      [texts('c@d', 1, 'u1'), texts('e@f', 1, 'u1')],
      [texts(null, 1, 'u2')],
      [texts('x@y', 1, 'u3')],
    ]);
    const [sum] = await write({ kind: 'increment', key: '1', field: 'visits', by: 1, above: 0 });
    expect(sum?.texts).toEqual([texts('e@f', 1, 'u1')]);
  });

  test('of a buffered write with a version of some time ago', async () => {
    const version = (Date.now() - 60_000) * 1_000 + 1;
    const [flushed] = await write({ kind: 'flush', key: '77', value: user(77, 'a@b'), version });
    expect(flushed?.texts).toEqual([texts('a@b', 1, 'u77')]);
    const [deleted] = await write({ kind: 'flush', key: '77', value: null, version: version + 2 });
    expect(deleted?.texts).toEqual([texts('a@b', 1, 'u77')]);
  });

  test('under the lock of the row: what a write that came between has left', async () => {
    await write(put(user(1, 'a@b')));
    const trx = await knex.transaction();
    await trx.raw(`UPDATE users SET email = 'between' WHERE id = 1`);
    const writing = write(put(user(1, 'c@d')));
    await trx.commit();
    const states = ['between', 'c@d', 'a@b'].map((email) => texts(email, 1, 'u1'));
    // The last of them, from the feed, which still holds the other's change.
    expect((await writing)[0]?.texts).toEqual(states);
  });

  test('no change of others that the feed still holds where there are too many, or an earlier release attached', async () => {
    await write(put(user(1, 'a@b')));
    await knex.raw(
      `DO $$ BEGIN FOR i IN 1..101 LOOP UPDATE users SET email = i WHERE id = 1; END LOOP; END $$`,
    );
    const [outcome] = await write(put(user(1, 'c@d')));
    expect(outcome).toMatchObject({ kind: 'written' });
    expect(outcome?.texts).toBeUndefined();
    await knex.raw('DROP INDEX lockstep.outbox_of_others');
    try {
      const opened = bind(server.store().pg);
      const [plain] = await opened.write([put(user(1, 'e@f'))], CALL);
      expect(plain).toMatchObject({ texts: [texts('c@d', 1, 'u1'), texts('e@f', 1, 'u1')] });
    } finally {
      await pg.attach(users);
    }
  });

  test('of a transaction: what it found and leaves, and what was between', async () => {
    await write(put(user(1, 'a@b')));
    await pg.transactions.transaction(async (tx) => {
      await users.write([put(user(1, 'c@d'))], { ...CALL, tx });
      const client = tx.client as Knex.Transaction;
      await client.raw(`UPDATE users SET email = 'e@f' WHERE id = 1`);
      await client.raw(`INSERT INTO users (id, email, slug) VALUES (2, 'x@y', 'z')`);
      expect(told(await tx.changes()).sort()).toEqual([
        ['1', 'put', ['a@b', 'c@d', 'e@f'].map((email) => texts(email, 1, 'u1'))],
        ['2', 'put', [texts('x@y', 1, 'z')]],
      ]);
    }, CALL);
  });
});

describe('texts', () => {
  test('are the same in SQL and in JavaScript, of every type that has some', async () => {
    await knex.raw(`CREATE TYPE mood AS ENUM ('sad', 'so:so %')`);
    await knex.raw('CREATE DOMAIN handle AS varchar(20)');
    await knex.raw(
      `CREATE TABLE typed (id int PRIMARY KEY, i2 int2, i8 int8, n numeric(30, 0), t text, h handle, u uuid, b bool, y bytea, m mood)`,
    );
    const { pg: store } = server.store();
    const typed = store.table<Record<string, unknown>, number>('typed', { key: 'id' });
    const columns = ['i2', 'i8', 'n', 't', 'h', 'u', 'b', 'y', 'm'];
    await store.attach(typed, { tags: columns });
    await typed.open();
    const rows = [
      {
        i2: -1,
        i8: '9223372036854775807',
        n: '100000000000000000000000000000',
        t: 'é'.repeat(300),
        h: 'A b',
        u: 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11',
        b: true,
        y: Buffer.from([0, 255]),
        m: 'so:so %',
      },
      {
        i2: 0,
        i8: -5n,
        n: -0,
        t: '',
        h: '%:,"\\',
        u: '{a0eebc999c0b4ef8bb6d6bb9bd380a12}',
        b: false,
        y: Buffer.alloc(0),
        m: 'sad',
      },
      { i2: null, i8: null, n: null, t: 'x'.repeat(500), h: null, u: null, b: null, y: null, m: null },
    ];
    for (const [id, row] of rows.entries()) {
      const value = { id, ...row, i8: row.i8 === null ? null : String(row.i8) };
      const [outcome] = await typed.write([{ kind: 'put', key: String(id), value, above: 0 }], CALL);
      const expected = Object.fromEntries(
        columns.map((name) => [name, typed.declared.textOf(name, row[name as keyof typeof row])]),
      );
      expect(outcome?.kind === 'written' && outcome.texts).toEqual([expected]);
    }
    expect(typed.declared.textOf('t', 'é'.repeat(300))).toBe(declaredText('é'.repeat(300)));
    expect(() => typed.declared.textOf('u', 'no uuid')).toThrow(/column "u"/);
  });
});

describe('rows by a unique index', () => {
  test('are found, position by position, by any form of the value', async () => {
    await write(put(user(1, 'a@b')), put(user(2, 'c:d%')), put({ ...user(3, null), tenant: 7, slug: 'a:b' }));
    const { declared } = users;
    expect(await declared.find(['mail'], [['=c:d%'], ['=none'], ['=a@b']], CALL)).toEqual([
      '2',
      undefined,
      '1',
    ]);
    const texts = [[declared.textOf('tenant', '7') ?? '', declared.textOf('slug', 'a:b') ?? '']];
    expect(await declared.find(['tenant', 'slug'], texts, CALL)).toEqual(['3']);
  });

  test('in a transaction are those that it sees', async () => {
    await pg.transactions.transaction(async (tx) => {
      await users.write([put(user(1, 'a@b'))], { ...CALL, tx });
      expect(await users.declared.find(['mail'], [['=a@b']], { ...CALL, tx })).toEqual(['1']);
      expect(await users.declared.find(['mail'], [['=a@b']], CALL)).toEqual([undefined]);
    }, CALL);
  });
});

describe('declarations are refused, by the name of the option,', () => {
  let tables = 0;
  const made = async (columns: string): Promise<PostgresTable<object, number>> => {
    const name = `odd${++tables}`;
    await knex.raw(`CREATE TABLE ${name} (id int PRIMARY KEY, ${columns})`);
    return pg.table(name, { key: 'id' });
  };
  const refused = async (columns: string, declare: object): Promise<unknown> => {
    const odd = await made(columns);
    return await pg.attach(odd, declare).then(
      () => undefined,
      (error: unknown) => error,
    );
  };

  test('without a unique index on exactly these columns', async () => {
    const message = /no unique index on exactly \(a\)/;
    const unique = ['a'];
    for (const columns of [
      'a text',
      'a text, b text, UNIQUE (a, b)',
      'a text UNIQUE DEFERRABLE',
      'a text, EXCLUDE (a WITH =)',
    ]) {
      expect(await refused(columns, { unique })).toMatchObject({
        option: 'unique',
        message: expect.stringMatching(message) as string,
      });
    }
    const odd = await made('a text, b text');
    await knex.raw(`CREATE UNIQUE INDEX partial ON odd${tables} (a) WHERE b IS NULL`);
    await knex.raw(`CREATE UNIQUE INDEX expression ON odd${tables} (lower(a))`);
    await expect(pg.attach(odd, { unique })).rejects.toThrow(message);
  });

  test('where values compare otherwise than by bytes, or a row may tell less of them', async () => {
    await knex.raw('CREATE EXTENSION IF NOT EXISTS citext');
    await knex.raw(
      `CREATE COLLATION IF NOT EXISTS ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`,
    );
    const types = [
      'citext',
      'char(5)',
      'text COLLATE ci',
      'float8',
      'jsonb',
      'timestamptz',
      'date',
      'numeric',
    ];
    for (const type of types) {
      expect(await refused(`a ${type} UNIQUE`, { unique: ['a'] }), type).toMatchObject({ option: 'unique' });
    }
    expect(await refused('a citext', { tags: ['a'] })).toMatchObject({ option: 'tags' });
    expect(await refused('a date, b timestamptz', { tags: [['a', 'b']] })).toBeUndefined();
  });

  test('of columns that are generated, or not there', async () => {
    const generated = 'b text, a text GENERATED ALWAYS AS (lower(b)) STORED UNIQUE';
    expect(await refused(generated, { unique: ['a'] })).toMatchObject({ option: 'unique' });
    expect(await refused('b text', { tags: ['a'] })).toMatchObject({ option: 'tags' });
  });

  test('and a set that attach does not know, with what to run', async () => {
    const odd = await made('a text UNIQUE');
    await pg.attach(odd);
    await odd.open();
    await expect(odd.declared.check({ unique: [['a']] })).rejects.toThrow(
      /pg\.attach\(table, { unique: \[\['a'\]\] }\)/,
    );
    await pg.attach(odd, { unique: ['a'] });
    // Looks again by itself.
    await odd.declared.check({ unique: [['a']] });
    await pg.attach(odd);
    await odd.declared.check({ unique: [['a']] });
    await pg.attach(odd, { unique: [] });
    const again = pg.table(`odd${tables}`, { key: 'id' });
    await again.open();
    await expect(again.declared.check({ unique: [['a']] })).rejects.toThrow(/attach it with them/);
  });

  test('nor is a column dropped unseen', async () => {
    const odd = await made('a text, b text');
    await pg.attach(odd, { tags: ['a', 'b'] });
    await knex.raw(`ALTER TABLE odd${tables} DROP COLUMN a`);
    await expect(odd.open()).rejects.toThrow(/no column "a" any more.*run attach/);
    await pg.attach(odd);
    await odd.open();
    await odd.declared.check({ tags: [['b']] });
    await knex.raw(`INSERT INTO odd${tables} VALUES (1, 'x')`);
  });
});
