import { InvalidOptionError, type LockstepError } from '@lockstep/core';
import type { Knex } from 'knex';
import { describe, expect, test } from 'vitest';
import { type PostgresStore, type PostgresTable, postgresStore } from '../src/index.js';
import { CALL, READ, testServer } from './support/database.js';
import { sceneOn } from './support/roles.js';

const server = testServer();

interface Item {
  readonly id: number;
  readonly v: string | null;
}

/** Table `items`, attached for role `low`, who may do anything with it. */
async function world(ddl = 'CREATE TABLE items (id int PRIMARY KEY, v text)') {
  const at = await sceneOn(server);
  await at.knex.raw(ddl);
  const table = at.pg.table<Item, number>('items', { key: 'id' });
  await at.pg.attach(table, { grantTo: [at.low] });
  await at.knex.raw(`GRANT SELECT, INSERT, UPDATE, DELETE ON items TO ${at.low}`);
  return { ...at, table };
}

const bound = (knex: Knex): { pg: PostgresStore; table: PostgresTable<Item, number> } => {
  const pg = postgresStore({ knex });
  return { pg, table: pg.table<Item, number>('items', { key: 'id' }) };
};

/** What opening the table says: the error's message, or the warnings. */
async function opened(knex: Knex): Promise<{ error?: string; warnings: string[] }> {
  const { pg, table } = bound(knex);
  const warnings: LockstepError[] = [];
  try {
    await table.open({ onWarning: (warning) => void warnings.push(warning) });
    const codes = new Set(warnings.map(({ code }) => code));
    expect([...codes].filter((code) => code !== 'LOCKSTEP_STORE_SETUP')).toEqual([]);
    return { warnings: warnings.map(({ message }) => message) };
  } catch (error) {
    expect(error).toBeInstanceOf(InvalidOptionError);
    return { error: (error as Error).message, warnings: [] };
  } finally {
    await pg.close();
  }
}

/** The statements behind the last colon, run by who may. */
async function mend(knex: Knex, message: string | undefined): Promise<void> {
  const statements = message?.split(/: (?=GRANT|ALTER|CREATE|REINDEX)/).at(-1) ?? '';
  expect(statements).toMatch(/^(?:GRANT|ALTER|CREATE|REINDEX) /);
  for (const sql of statements.split('; ')) await knex.raw(sql);
}

describe('open names what is wrong, and the statement that mends it', () => {
  test.each([
    ['USAGE of the schema', 'REVOKE USAGE ON SCHEMA lockstep FROM $low', /may not use schema lockstep/],
    [
      'the outbox',
      'REVOKE DELETE, UPDATE ON lockstep.outbox FROM $low',
      /may not DELETE, UPDATE lockstep\.outbox/,
    ],
    ['tombstones', 'REVOKE INSERT ON lockstep.tombstone FROM $low', /may not INSERT lockstep\.tombstone/],
    ['the registry', 'REVOKE SELECT ON lockstep.consumer FROM $low', /may not SELECT lockstep\.consumer/],
    ['the record', 'REVOKE SELECT ON lockstep.attached FROM $low', /may not SELECT lockstep\.attached/],
    ['the table', 'REVOKE SELECT ON items FROM $low', /may not SELECT public\.items/],
    [
      'the table, all but a column',
      'REVOKE SELECT ON items FROM $low; GRANT SELECT (id, v) ON items TO $low',
      /may not SELECT public\.items/,
    ],
    [
      'the mark of who runs Lockstep',
      'REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA lockstep FROM $low',
      /attach does not know low_\w+ as a role that runs Lockstep/,
    ],
  ])('a right on %s', async (_, sql, message) => {
    const at = await world();
    const low = at.asLow();
    expect(await opened(low)).toEqual({ warnings: [] });
    await at.knex.raw(sql.replaceAll('$low', at.low));
    const { error } = await opened(low);
    expect(error).toMatch(message);
    await mend(at.knex, error);
    expect(await opened(low)).toEqual({ warnings: [] });
  });

  test('a role that may only read is warned of what it may not do', async () => {
    const at = await world();
    await at.knex.raw(`REVOKE INSERT, DELETE ON items FROM ${at.low}`);
    const { warnings } = await opened(at.asLow());
    expect(warnings).toEqual([
      expect.stringMatching(/may not DELETE, INSERT public\.items: GRANT DELETE, INSERT ON/),
    ]);
    await mend(at.knex, warnings[0]);
    expect(await opened(at.asLow())).toEqual({ warnings: [] });
  });

  test('a session in whose texts pg does not find what was stored is warned, where the table has such columns', async () => {
    const at = await world(
      'CREATE TABLE items (id int PRIMARY KEY, v text, at timestamptz(3), days date[], f float8, i interval)',
    );
    expect(await opened(at.asLow())).toEqual({ warnings: [] });
    const settings = { DateStyle: 'SQL, DMY', IntervalStyle: 'iso_8601', extra_float_digits: '0' };
    for (const [name, value] of Object.entries(settings)) {
      await at.knex.raw(`ALTER ROLE ${at.low} SET ${name} = '${value}'`.replace("'SQL, DMY'", 'SQL, DMY'));
    }
    const { warnings } = await opened(at.asLow());
    expect(warnings).toEqual([
      expect.stringMatching(
        /DateStyle of this session is 'SQL, DMY', so that "at", "days" .* SET DateStyle TO 'ISO'/,
      ),
      expect.stringMatching(/IntervalStyle .* is 'iso_8601', so that "i" may/),
      expect.stringMatching(/extra_float_digits .* is '0', so that "f" may/),
    ]);
    await at.knex.raw('ALTER TABLE items DROP at, DROP days, DROP f, DROP i');
    expect(await opened(at.asLow())).toEqual({ warnings: [] });
  });

  test('a role of an earlier release, which may not remove records of the registry, is warned', async () => {
    const at = await world();
    await at.knex.raw(`REVOKE DELETE ON lockstep.consumer FROM ${at.low}`);
    const { warnings } = await opened(at.asLow());
    expect(warnings).toEqual([expect.stringMatching(/may not DELETE lockstep\.consumer/)]);
    await mend(at.knex, warnings[0]);
    expect(await opened(at.asLow())).toEqual({ warnings: [] });
  });

  test.each([
    ['is disabled', 'DISABLE TRIGGER'],
    ['fires in replication only', 'ENABLE REPLICA TRIGGER'],
  ])('a trigger that %s', async (_, state) => {
    const at = await world();
    await at.knex.raw(`ALTER TABLE items ${state} "!lockstep_record_delete"`);
    const { error } = await opened(at.knex);
    expect(error).toMatch(/triggers !lockstep_record_delete of public\.items are disabled/);
    await mend(at.knex, error);
    expect(await opened(at.knex)).toEqual({ warnings: [] });
  });

  test('a trigger of a partition that is disabled', async () => {
    const at = await world(
      `CREATE TABLE items (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
       CREATE TABLE items_1 PARTITION OF items FOR VALUES FROM (0) TO (9)`,
    );
    await at.knex.raw('ALTER TABLE items_1 DISABLE TRIGGER ALL');
    const { error } = await opened(at.knex);
    expect(error).toMatch(/~lockstep_stamp of public\.items_1/);
    await mend(at.knex, error);
    expect(await opened(at.knex)).toEqual({ warnings: [] });
  });

  test('a trigger that passes over replicated changes is warned about, and an error in such a session', async () => {
    const at = await world();
    await at.knex.raw('ALTER TABLE items ENABLE TRIGGER "!lockstep_record_delete"');
    const { warnings } = await opened(at.knex);
    expect(warnings).toEqual([
      expect.stringMatching(/lockstep_record_delete .* don't fire where session_replication_role/),
    ]);
    await at.knex.raw(`ALTER ROLE ${at.low} SET session_replication_role = replica`).catch(() => undefined);
    await at.knex.raw(`GRANT USAGE ON SCHEMA public TO ${at.low}`);
    const { error } = await opened(at.asLow());
    expect(error).toMatch(/don't fire in this session/);
    await mend(at.knex, error);
    expect((await opened(at.asLow())).warnings).toEqual([
      expect.stringMatching(/session_replication_role of this session/),
    ]);
    expect(await opened(at.knex)).toEqual({ warnings: [] });
  });

  test('attach enables triggers again that somebody has weakened', async () => {
    const at = await world();
    await at.knex.raw('ALTER TABLE items ENABLE TRIGGER "!lockstep_record_delete"');
    await at.pg.attach(at.table);
    expect(await opened(at.knex)).toEqual({ warnings: [] });
  });

  test.each([
    ['none', 'id int NOT NULL', 'SELECT', /no primary key or unique index/],
    ['one that is deferrable', 'id int PRIMARY KEY DEFERRABLE', 'SELECT', /its constraint is deferrable/],
    [
      'a unique one that is deferrable',
      'id int NOT NULL UNIQUE DEFERRABLE',
      'SELECT',
      /deferrable.* ADD UNIQUE/,
    ],
    ['a partial one', 'id int NOT NULL', 'CREATE UNIQUE INDEX ON items (id) WHERE id > 0', /partial/],
    [
      'an invalid one',
      'id int NOT NULL',
      `CREATE UNIQUE INDEX only_of_items ON items (id); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'only_of_items'::regclass`,
      /only_of_items is invalid/,
    ],
    ['a key that may be NULL', 'id int UNIQUE', 'SELECT', /must be NOT NULL/],
  ])('an index of the key: %s', async (_, key, more, message) => {
    const at = await sceneOn(server);
    await at.knex.raw(`CREATE TABLE items (${key}, v text); ${more}`);
    const { pg, table } = bound(at.knex);
    const failed = await pg.attach(table).catch((error: unknown) => error as Error);
    expect(failed).toBeInstanceOf(InvalidOptionError);
    expect((failed as Error).message).toMatch(message);
    await mend(at.knex, (failed as Error).message);
    await pg.attach(table);
    await table.open();
  });

  test('a unique index that includes other columns is one of the key', async () => {
    const at = await sceneOn(server);
    await at.knex.raw(
      'CREATE TABLE items (id int NOT NULL, v text); CREATE UNIQUE INDEX ON items (id) INCLUDE (v)',
    );
    const { pg, table } = bound(at.knex);
    await pg.attach(table);
    await table.open();
    const [written] = await table.write(
      [{ kind: 'put', key: '1', value: { id: 1, v: 'a' }, above: 0 }],
      CALL,
    );
    expect(written?.kind).toBe('written');
    expect((await table.read(['1'], READ))[0]?.value).toEqual({ id: 1, v: 'a' });
  });

  test.each([
    ['an unlogged table', 'CREATE UNLOGGED TABLE items (id int PRIMARY KEY)', 'SET LOGGED'],
    [
      'forced row-level security',
      'CREATE TABLE items (id int PRIMARY KEY); ALTER TABLE items FORCE ROW LEVEL SECURITY; ALTER TABLE items OWNER TO $low; GRANT CREATE ON DATABASE $db TO $low',
      'NO FORCE ROW LEVEL SECURITY',
    ],
    [
      'a table that others inherit from',
      'CREATE TABLE items (id int PRIMARY KEY); CREATE TABLE more () INHERITS (items)',
      'NO INHERIT "public"."items"',
    ],
  ])('%s', async (_, ddl, statement) => {
    const at = await sceneOn(server);
    const db = new URL(at.url).pathname.slice(1);
    await at.knex.raw(ddl.replaceAll('$low', at.low).replaceAll('$db', db));
    const { pg, table } = bound(ddl.includes('$low') ? at.asLow() : at.knex);
    const failed = await pg.attach(table).catch((error: unknown) => error as Error);
    const { message } = failed as Error;
    expect(message).toContain(statement);
    const sql = /ALTER TABLE [^;,]*/.exec(message)?.[0] ?? '';
    await at.knex.raw(sql);
    await pg.attach(table);
    await pg.close();
  });

  test('attach as a role that does not own the table, or may not create the schema', async () => {
    const at = await sceneOn(server);
    await at.knex.raw(`CREATE TABLE items (id int PRIMARY KEY)`);
    const low = at.asLow();
    const { pg, table } = bound(low);
    await expect(pg.attach(table)).rejects.toThrow(InvalidOptionError);
    await expect(pg.attach(table)).rejects.toThrow(
      new RegExp(
        `role ${at.low} does not own public\\.items, which belongs to postgres, may not create schema lockstep`,
      ),
    );
    await expect(pg.attach(table)).rejects.toThrow(/GRANT CREATE ON DATABASE/);
    const { rows } = await at.knex.raw<{ rows: unknown[] }>(
      `SELECT FROM pg_namespace WHERE nspname = 'lockstep'`,
    );
    expect(rows).toEqual([]);
    await at.knex.raw(`ALTER TABLE items OWNER TO ${at.low}`);
    await at.knex.raw(`GRANT CREATE ON DATABASE "${new URL(at.url).pathname.slice(1)}" TO ${at.low}`);
    await pg.attach(table);
    await table.open();
    await pg.close();
  });
});
