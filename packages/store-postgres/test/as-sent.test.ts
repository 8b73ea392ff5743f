import { isDeepStrictEqual } from 'node:util';
import { createLockstep } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import { describe, expect, test } from 'vitest';
import { CALL, testServer } from './support/database.js';

const server = testServer();
const LABEL = 'D0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11';
const MOMENT = new Date('2024-05-06T07:08:09.123Z');

/** A column, a value, and whether it is known to come back as it was sent. */
const CASES: readonly (readonly [string, unknown, boolean])[] = [
  ['int', 5, true],
  ['int', -0, false],
  ['int', 5n, false],
  ['int', '5', false],
  ['int', null, true],
  ['smallint', -32768, true],
  ['bigint', '9007199254740993', true],
  ['bigint', 5, false],
  ['bigint', '05', false],
  ['bigint', '-0', false],
  ['real', 0.1, false],
  ['double precision', 0.1, true],
  ['double precision', Number.NaN, true],
  ['double precision', -0, true],
  ['double precision', 1e300, true],
  ['numeric', '1.50', true],
  ['numeric', '-0.00', false],
  ['numeric', '-0.01', true],
  ['numeric', 1.5, false],
  ['numeric(10,2)', '1.50', true],
  ['numeric(10,2)', '1.5', false],
  ['numeric(10,2)', '1.555', false],
  ['numeric(10,0)', '7', true],
  ['bool', true, true],
  ['bool', 't', false],
  ['text', 'Ada ', true],
  ['text', 5, false],
  ['varchar(3)', 'ab', true],
  ['varchar(3)', 'abc ', false],
  ['char(3)', 'ab', false],
  ['name', 'ab', false],
  ['uuid', LABEL.toLowerCase(), true],
  ['uuid', LABEL, false],
  ['bytea', Buffer.from([0, 255]), true],
  ['timestamptz', MOMENT, true],
  ['timestamptz(3)', MOMENT, true],
  ['timestamptz(0)', MOMENT, false],
  ['timestamptz', MOMENT.toISOString(), false],
  ['timestamp', MOMENT, false],
  ['date', MOMENT, false],
  ['json', { b: [1, { c: null }], a: 'x' }, true],
  ['json', { at: MOMENT }, false],
  ['json', { gone: undefined }, false],
  ['jsonb', { a: 1, b: { c: 2, aa: [] } }, true],
  ['jsonb', { b: 1, a: 2 }, false],
  ['jsonb', [{ aa: 1, b: 2 }], false],
  ['jsonb', -0, false],
  ['jsonb', { a: 1e300, b: 1e-7 }, true],
  ['mood', 'sad', true],
  ['positive', 5, false],
  ['int[]', [1], false],
  ['interval', '1 day', false],
];

describe('what is said to come back as it was sent', () => {
  test.each(CASES)('%s: %o', async (type, value, expected) => {
    const { knex, pg } = server.store();
    const name = `sent_${Math.random().toString(36).slice(2)}`;
    await knex.raw(`DO $$ BEGIN CREATE TYPE mood AS ENUM ('sad', 'ok'); EXCEPTION WHEN duplicate_object THEN END $$;
      DO $$ BEGIN CREATE DOMAIN positive AS int CHECK (value > 0); EXCEPTION WHEN duplicate_object THEN END $$`);
    await knex.raw(`CREATE TABLE ${name} (id int PRIMARY KEY, v ${type}, other int)`);
    const table = pg.table<Record<string, unknown>, number>(name, { key: 'id' });
    await pg.attach(table);
    await table.open();
    await table.write([{ kind: 'put', key: '1', value: { id: 1, other: 1 }, above: 0 }], CALL);
    expect(table.returnsAsSent({ v: value })).toBe(expected);
    const [outcome] = await table.write([{ kind: 'patch', key: '1', set: { v: value }, above: 0 }], CALL);
    if (!expected) return;
    expect(outcome).toMatchObject({ kind: 'written' });
    const row = outcome?.kind === 'written' ? outcome.value : undefined;
    expect(isDeepStrictEqual(row, { id: 1, v: value, other: 1 })).toBe(true);
    expect(JSON.stringify(row)).toBe(JSON.stringify({ id: 1, v: value, other: 1 }));
  });

  test('a column that is not there, and the key, are not', async () => {
    const { knex, pg } = server.store();
    await knex.raw('CREATE TABLE parsed (id int PRIMARY KEY, n bigint)');
    const table = pg.table<Record<string, unknown>, number>('parsed', { key: 'id' });
    await pg.attach(table);
    await table.open();
    expect(table.returnsAsSent({ none: 1 })).toBe(false);
    expect(table.returnsAsSent({ id: 1 })).toBe(false);
    expect(table.returnsAsSent({ n: '1' })).toBe(true);
  });
});

/** Six callers take one each: what each is told, how many statements that took, and what is left. */
async function taken(columns: string, after = ''): Promise<unknown> {
  const { knex, pg } = server.store();
  const name = `taken_${Math.random().toString(36).slice(2)}`;
  await knex.raw(`CREATE TABLE ${name} (id int PRIMARY KEY, stock int NOT NULL, ${columns})`);
  await knex.raw(`INSERT INTO ${name} (id, stock) VALUES (1, 10)`);
  if (after !== '') await knex.raw(after.replaceAll('TABLE_NAME', name));
  const table = pg.table<{ id: number; stock: number; label?: string }, number>(name, { key: 'id' });
  await pg.attach(table);
  let statements = 0;
  const store = new Proxy(table, {
    get: (target, property) => {
      const value: unknown = Reflect.get(target, property, target);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        if (property === 'write') statements += 1;
        return (value as (...all: unknown[]) => unknown).apply(target, args);
      };
    },
  });
  const lockstep = createLockstep({ cache: memoryCache() });
  const rows = lockstep.collection({ name, store });
  await rows.get(1);
  const calls = Array.from({ length: 6 }, () =>
    rows.update(1, (row) => row && { ...row, stock: row.stock - 1 }),
  );
  const results = await Promise.allSettled(calls);
  await lockstep.close();
  return {
    told: results.map((each) =>
      each.status === 'fulfilled' ? [each.value.value?.stock, each.value.value?.label] : 'refused',
    ),
    statements,
    left: (await knex(name).where({ id: 1 }).first())?.stock as unknown,
  };
}

const alone = (labels: readonly (string | null)[]) => ({
  told: [9, 8, 7, 6, 5, 4].map((stock, i) => [stock, labels[i]]),
  statements: 6,
  left: 4,
});

test('functions of one row travel as one statement', async () => {
  expect(await taken('label text')).toEqual({ ...alone(Array(6).fill(null)), statements: 1 });
});

test('one by one where a generated column tells of what they change', async () => {
  const labels = [9, 8, 7, 6, 5, 4].map(String);
  expect(await taken('label text GENERATED ALWAYS AS (stock::text) STORED')).toEqual(alone(labels));
});

test('one by one where a trigger changes the row', async () => {
  const trigger = `CREATE FUNCTION TABLE_NAME_f() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN NEW.label := 'left ' || NEW.stock; RETURN NEW; END $$;
    CREATE TRIGGER a BEFORE UPDATE ON TABLE_NAME FOR EACH ROW EXECUTE FUNCTION TABLE_NAME_f()`;
  const labels = [9, 8, 7, 6, 5, 4].map((n) => `left ${n}`);
  expect(await taken('label text', trigger)).toEqual(alone(labels));
});

test('a constraint refuses those at fault alone', async () => {
  expect(await taken('label text, CHECK (stock >= 7)')).toMatchObject({
    told: [[9, null], [8, null], [7, null], 'refused', 'refused', 'refused'],
    left: 7,
  });
});
