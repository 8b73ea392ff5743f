import type { LockstepError } from '@lockstep/core';
import type { Knex } from 'knex';
import { expect, test } from 'vitest';
import { type PostgresTable, postgresStore } from '../src/index.js';
import { CALL, testServer } from './support/database.js';
import { type Scene, sceneOn } from './support/roles.js';

const server = testServer();

interface Item {
  readonly id: number;
  readonly v?: string;
}

async function world(ddl = 'CREATE TABLE items (id int PRIMARY KEY, v text)') {
  const at = await sceneOn(server);
  await at.knex.raw(ddl);
  const table = at.pg.table<Item, number>('items', { key: 'id' });
  await at.pg.attach(table);
  await at.knex.raw(`GRANT SELECT, INSERT, UPDATE, DELETE ON items TO ${at.low}`);
  return { ...at, table };
}

async function recorded(knex: Knex): Promise<string[]> {
  const { rows } = await knex.raw<{ rows: { key: string }[] }>(
    'WITH d AS (DELETE FROM lockstep.outbox RETURNING coalesce(keys, ARRAY[key]) AS keys) SELECT unnest(keys) AS key FROM d ORDER BY 1',
  );
  return rows.map(({ key }) => key);
}

async function put(table: PostgresTable<Item, number>, ...ids: number[]): Promise<void> {
  const commands = ids.map((id) => ({ kind: 'put' as const, key: String(id), value: { id }, above: 0 }));
  for (const outcome of await table.write(commands, CALL)) expect(outcome.kind).toBe('written');
}

function tableOf(knex: Knex): PostgresTable<Item, number> {
  return postgresStore({ knex }).table<Item, number>('items', { key: 'id' });
}

async function warningsOf(table: PostgresTable<Item, number>): Promise<LockstepError[]> {
  const warnings: LockstepError[] = [];
  await table.open({ onWarning: (warning) => void warnings.push(warning) });
  return warnings;
}

/** What a role without the right tries, that knows how Lockstep's own statements pass the trigger. */
async function passes({ knex, low }: Scene, as: Knex): Promise<boolean> {
  await recorded(knex);
  await as.transaction(async (trx) => {
    await trx.raw(`SELECT set_config('lockstep.stamped', 'public.items', true)`);
    await trx.raw(`UPDATE items SET v = '${low}' WHERE id = 1`);
  });
  return (await recorded(knex)).length === 0;
}

test.each([
  ['a default', `ALTER TABLE items ADD w int DEFAULT touch()`],
  ['a condition', 'ALTER TABLE items ADD CHECK (id = 1 OR touch() = 1)'],
  ['a domain', 'CREATE DOMAIN touched AS int CHECK (touch() = 1); ALTER TABLE items ADD w touched DEFAULT 1'],
])('what %s writes while a row is put is recorded, too', async (_, ddl) => {
  const at = await world();
  await put(at.table, 1);
  await at.knex.raw(`CREATE FUNCTION touch() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
    UPDATE public.items SET v = 'touched' WHERE id = 1 AND v IS DISTINCT FROM 'touched'; RETURN 1; END $$`);
  await at.knex.raw(ddl);
  await at.knex.raw(`ALTER TABLE items DISABLE TRIGGER ALL; UPDATE items SET v = NULL`);
  await at.knex.raw(`ALTER TABLE items ENABLE TRIGGER ALL`);
  await at.pg.attach(at.table);
  await recorded(at.knex);
  const table = tableOf(at.knex);
  await table.open();
  await put(table, 2);
  expect(await recorded(at.knex)).toEqual(['1', '2']);
  await put(table, 3, 4);
  expect(await recorded(at.knex)).toEqual(['3', '4']);
});

test('a role that came after the last attach records once, and attach gives it its mark', async () => {
  const at = await world();
  const app = `app_${at.low}`;
  await at.knex.raw(`CREATE ROLE ${app}`);
  await at.pg.attach(at.table, { grantTo: [app] });
  await at.knex.raw(`GRANT ${app} TO ${at.low}`);
  const before = tableOf(at.asLow());
  await before.open();
  await put(before, 1);
  await put(before, 2, 3);
  expect(await recorded(at.knex)).toEqual(['1', '2', '3']);
  expect(await passes(at, at.asLow())).toBe(false);
  await at.pg.attach(at.table);
  expect(await passes(at, at.asLow())).toBe(true);
  const after = tableOf(at.asLow());
  await after.open();
  await put(after, 4, 5);
  const { rows } = await at.knex.raw<{ rows: { n: number }[] }>(
    'SELECT count(*)::int AS n FROM lockstep.outbox',
  );
  // A statement that stamps its rows records them together.
  expect(rows).toEqual([{ n: 1 }]);
  expect(await recorded(at.knex)).toEqual(['4', '5']);
});

test('a role whose right was revoked is told of until attach takes its mark away', async () => {
  const at = await world();
  await at.pg.attach(at.table, { grantTo: [at.low] });
  await put(at.table, 1);
  expect(await warningsOf(at.table)).toEqual([]);
  await at.knex.raw(`REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA lockstep FROM ${at.low}`);
  await expect(tableOf(at.asLow()).open()).rejects.toThrow(/attach does not know/);
  // The trigger's condition names roles: it asks for no rights, which would cost each row.
  expect(await passes(at, at.asLow())).toBe(true);
  const [warning, ...more] = await warningsOf(at.table);
  expect(more).toEqual([]);
  expect(warning?.code).toBe('LOCKSTEP_STORE_INSECURE');
  expect(warning?.message).toMatch(new RegExp(`${at.low} may not run Lockstep any more.*attach again`));
  await at.pg.attach(at.table);
  expect(await passes(at, at.asLow())).toBe(false);
  expect(await warningsOf(at.table)).toEqual([]);
});

test('attach leaves marks of odd names as they are', async () => {
  const at = await world();
  const odd = `Odd "\\' ${at.low}`;
  await at.knex.raw(`CREATE ROLE ${`"${odd.replaceAll('"', '""')}"`}`);
  await at.pg.attach(at.table, { grantTo: [odd] });
  const trx = await at.knex.transaction();
  await trx.raw('LOCK TABLE items IN ACCESS SHARE MODE');
  await at.pg.attach(at.table, { lockTimeoutMs: 50 });
  await trx.rollback();
});
