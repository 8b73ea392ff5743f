import { InvalidOptionError } from '@lockstep/core';
import type { Knex } from 'knex';
import { describe, expect, test } from 'vitest';
import type { AttachOptions, PostgresTable } from '../src/index.js';
import { CALL, CHANGES, READ, testServer, waiting } from './support/database.js';
import { type Scene, sceneOn } from './support/roles.js';

const server = testServer();

interface Victim {
  readonly id: number;
  readonly name: string | null;
}

const DAY_US = 86_400_000_000;
const HUGE = '9223372036854775807';

interface Attached extends Scene {
  readonly table: PostgresTable<Victim, number>;
}

async function attached(
  rights = 'SELECT, INSERT, UPDATE, DELETE',
  options: AttachOptions = {},
): Promise<Attached> {
  const at = await sceneOn(server);
  await at.knex.raw('CREATE TABLE victim (id int PRIMARY KEY, name text)');
  const table = at.pg.table<Victim, number>('victim', { key: 'id' });
  await at.pg.attach(table, options);
  await table.open();
  await at.knex.raw(`GRANT ${rights} ON victim TO ${at.low};
    INSERT INTO victim SELECT i, 'n' || i FROM generate_series(1, 20) i; DELETE FROM lockstep.outbox`);
  return { ...at, table };
}

async function rowsOf<T>(knex: Knex, sql: string): Promise<T[]> {
  return (await knex.raw<{ rows: T[] }>(sql.replaceAll('?', '\\?'))).rows;
}

async function versionOf(knex: Knex, id: number): Promise<number> {
  const [row] = await rowsOf<{ v: string }>(
    knex,
    `SELECT lockstep_version AS v FROM victim WHERE id = ${id}`,
  );
  return Number(row?.v);
}

const nowUs = (): number => Date.now() * 1000;

/** Plausible, a foreign write's, and at most a minute from now. */
function expectForeign(version: number): void {
  expect(version % 4).toBe(0);
  expect(Math.abs(version - nowUs())).toBeLessThan(60_000_000);
}

const put = (id: number, name: string, above = 0) =>
  ({ kind: 'put', key: String(id), value: { id, name }, above }) as const;

async function storeOf(at: Attached, role: string, name = 'victim'): Promise<PostgresTable<Victim, number>> {
  const url = new URL(at.url);
  url.username = role;
  return server.store({ knex: server.knex(url.href) }).pg.table<Victim, number>(name, { key: 'id' });
}

describe('settings of a role that does not run Lockstep change nothing', () => {
  test.each([
    `SET lockstep.stamped = 'public.victim'`,
    `SET lockstep.tx = 'own'`,
    `SET lockstep.moved = 'yes'`,
    `SET lockstep.below = 'yes'`,
    `SET lockstep.delete_base = '9007199254740000'`,
    `SET lockstep.delete_base = 'x'`,
    `SET lockstep.delete_exact = '{"1": ${HUGE}, "30": 7}'`,
    `SET lockstep.delete_exact = 'x'`,
  ])('%s', async (setting) => {
    const { knex, asLow } = await attached();
    const low = asLow();
    await low.raw(setting.replaceAll('?', '\\?'));
    await low.raw(`UPDATE victim SET name = 'a', lockstep_version = 5 WHERE id = 2`);
    expectForeign(await versionOf(knex, 2));
    await low.raw(`INSERT INTO victim (id, name, lockstep_version) VALUES (30, 'b', 6)`);
    expectForeign(await versionOf(knex, 30));
    await low.raw('DELETE FROM victim WHERE id IN (1, 30)');
    const outbox = await rowsOf<{ key: string; op: string; version: string }>(
      knex,
      `SELECT key, op::text AS op, version FROM ${CHANGES} ORDER BY version, id`,
    );
    expect(outbox.map(({ key, op }) => `${op}${key}`).sort()).toEqual(['d1', 'd30', 'p2', 'p30']);
    for (const { version } of outbox) expectForeign(Number(version));
    for (const { version } of await rowsOf<{ version: string }>(
      knex,
      'SELECT version FROM lockstep.tombstone',
    )) {
      expectForeign(Number(version));
    }
  });

  test.each([
    ['stamped', 'public.victim'],
    ['tx', 'own'],
    ['below', 'yes'],
    ['deadline', '1'],
    ['delete_base', '1'],
    ['delete_exact', '{}'],
  ])(
    'lockstep.%s = %s, said in the middle of a bulk statement, hides none of its rows',
    async (name, value) => {
      const { knex, asLow } = await attached(undefined, { bulk: true });
      const low = asLow();
      const say = (when: string): string =>
        `CASE WHEN ${when} THEN set_config('lockstep.${name}', '${value}', true) ELSE '' END`;
      await low.raw(`UPDATE victim SET name = ${say('id = 15')}`);
      await low.raw(`INSERT INTO victim SELECT g, ${say('g = 35')} FROM generate_series(30, 40) g`);
      await low.raw(`DELETE FROM victim WHERE id <= 10 AND ${say('id = 5')} IS NOT NULL`);
      const changes = await rowsOf<{ op: string; n: number }>(
        knex,
        `SELECT op::text AS op, count(DISTINCT key)::int AS n FROM ${CHANGES} WHERE version % 4 = 0 GROUP BY op ORDER BY op`,
      );
      expect(changes).toEqual([
        { op: 'd', n: 10 },
        { op: 'p', n: 31 },
      ]);
    },
  );

  test('not through a function that runs with the owner’s rights, nor after SET ROLE', async () => {
    const { knex, low, asLow } = await attached();
    await knex.raw(`CREATE FUNCTION rename(i int, n text) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public
      AS 'UPDATE victim SET name = n WHERE id = i';
      CREATE TABLE child (id int PRIMARY KEY REFERENCES victim ON UPDATE CASCADE ON DELETE CASCADE)`);
    const other = asLow();
    await other.raw(`SET lockstep.stamped = 'public.victim'; SET lockstep.tx = 'own'`);
    await other.raw(`SELECT rename(3, 'by function')`);
    expectForeign(await versionOf(knex, 3));
    await knex.transaction(async (trx) => {
      await trx.raw(`SET LOCAL ROLE ${low}; SET LOCAL lockstep.stamped = 'public.victim'; SET LOCAL lockstep.tx = 'own';
        UPDATE victim SET name = 'by role' WHERE id = 4`);
    });
    expectForeign(await versionOf(knex, 4));
    const recorded = await rowsOf(knex, `SELECT key FROM ${CHANGES} ORDER BY key`);
    expect(recorded).toEqual([{ key: '3' }, { key: '4' }]);
  });

  test.each([
    ['-9223372036854775806'],
    ['-9223372036854775807'],
    ['-9223372036854775808'],
    [HUGE],
    ['9007199254740993'],
    ['-1'],
    ['-5'],
    ['NULL'],
  ])('a version of %s, set by hand, is overwritten', async (version) => {
    const { knex, asLow } = await attached();
    const low = asLow();
    await low.raw(`UPDATE victim SET lockstep_version = ${version} WHERE id = 7`);
    await low.raw(`INSERT INTO victim (id, name, lockstep_version) VALUES (21, 'x', ${version})`);
    expectForeign(await versionOf(knex, 7));
    expectForeign(await versionOf(knex, 21));
  });
});

describe('what is far ahead of the database’s clock is not believed', () => {
  test.each([1, 9_007_199_254_740_990, Number.MAX_SAFE_INTEGER, 2 ** 60, 1e300, Number.NaN])(
    'a write above %d',
    async (extra) => {
      const { table, pg } = await attached();
      const far = extra === 1 ? nowUs() + DAY_US + 3_600_000_000 : extra;
      const commands = [
        put(1, 'put', far),
        put(2, 'insert', far),
        { kind: 'delete', key: '3', above: far } as const,
        { kind: 'delete', key: '4', above: far, ifVersion: 4 } as const,
        put(5, 'beside'),
      ];
      const check = (outcomes: readonly { kind: string; version?: number }[]): void => {
        expect(outcomes.map(({ kind }) => kind)).toEqual([
          'written',
          'written',
          'written',
          'conflict',
          'written',
        ]);
        for (const { version = 0 } of outcomes) expect(version).toBeLessThan(nowUs() + 60_000_000);
      };
      check((await table.write(commands, CALL)) as never);
      await table.write([put(3, 'again'), put(4, 'again')], CALL);
      await pg.transactions.transaction(async (tx) => {
        check((await table.write(commands, { ...CALL, tx })) as never);
      }, CALL);
    },
  );

  test('within a day it is', async () => {
    const { table } = await attached();
    const above = nowUs() + DAY_US - 3_600_000_000;
    const [outcome] = await table.write([put(1, 'ahead', above)], CALL);
    expect(outcome).toMatchObject({ kind: 'written' });
    expect((outcome as { version: number }).version).toBeGreaterThan(above);
  });

  test('a flush at such a version is refused alone, in row and tombstone', async () => {
    const { table, knex } = await attached();
    const version = nowUs() + 2 * DAY_US + 1 - (nowUs() % 2);
    const near = nowUs() + 1_000_001 - (nowUs() % 2);
    const flush = (id: number, at: number, value: Victim | null) =>
      ({ kind: 'flush', key: String(id), value, version: at }) as const;
    const outcomes = await table.write(
      [
        flush(1, version, { id: 1, name: 'far' }),
        flush(2, near, { id: 2, name: 'near' }),
        flush(3, version, null),
        flush(40, version, null),
        flush(4, near, null),
      ],
      CALL,
    );
    expect(outcomes.map(({ kind }) => kind)).toEqual(['failed', 'written', 'failed', 'failed', 'written']);
    expect(outcomes[0]).toMatchObject({ error: { code: 'LOCKSTEP_STORE_REFUSED' } });
    const kept = await rowsOf(
      knex,
      `SELECT id FROM victim WHERE id IN (1, 3) AND name = 'n' || id ORDER BY id`,
    );
    expect(kept).toEqual([{ id: 1 }, { id: 3 }]);
    expect(await rowsOf(knex, `SELECT key FROM lockstep.tombstone WHERE key IN ('3', '40')`)).toEqual([]);
  });
});

describe('a row that has such a version already', () => {
  /** As an earlier release, or a restored backup, may have left it. */
  async function poison(knex: Knex, id: number, version: string): Promise<void> {
    await knex.transaction((trx) =>
      trx.raw(`SELECT set_config('lockstep.stamped', 'public.victim', true);
        UPDATE victim SET lockstep_version = ${version} WHERE id = ${id}`),
    );
  }

  test.each([HUGE, '-5', '0', '9007199254740990'])(
    '%s: fails alone, and may be changed by others',
    async (version) => {
      const { table, knex, pg } = await attached();
      await poison(knex, 7, version);
      const rows = await table.read(['6', '7', '8'], READ);
      expect(rows.map((row) => row?.value.name)).toEqual(['n6', 'n7', 'n8']);
      expect(rows.map((row) => (row?.version ?? 0) > 0)).toEqual([true, false, true]);
      const each = [
        put(7, 'put'),
        { ...put(7, 'put'), ifVersion: null } as const,
        { ...put(7, 'put'), ifVersion: 4 } as const,
        { kind: 'restamp', key: '7', above: 0, ifVersion: 4 } as const,
        { kind: 'delete', key: '7', above: 0 } as const,
        { kind: 'flush', key: '7', value: { id: 7, name: 'flush' }, version: nowUs() * 1 + 1 } as const,
        { kind: 'flush', key: '7', value: null, version: nowUs() + 1 } as const,
      ];
      for (const command of each) {
        const outcomes = await table.write([put(6, 'beside'), put(8, 'beside'), command], CALL);
        expect(outcomes.map(({ kind }) => kind)).toEqual(['written', 'written', 'failed']);
        expect(outcomes[2]).toMatchObject({ error: { message: expect.stringContaining('repair') } });
      }
      await pg.transactions.transaction(async (tx) => {
        const outcomes = await table.write([put(6, 'tx'), put(7, 'tx'), put(8, 'tx')], { ...CALL, tx });
        expect(outcomes.map(({ kind }) => kind)).toEqual(['written', 'failed', 'written']);
      }, CALL);
      await knex.raw('DELETE FROM lockstep.outbox');
      await knex.raw(`UPDATE victim SET name = 'foreign' WHERE id = 7`);
      const [row] = await rowsOf<{ name: string; v: string }>(
        knex,
        'SELECT name, lockstep_version AS v FROM victim WHERE id = 7',
      );
      expect(row).toEqual({ name: 'foreign', v: version });
      const [change] = await rowsOf<{ version: string }>(knex, 'SELECT version FROM lockstep.outbox');
      expectForeign(Number(change?.version));
      await knex.raw('DELETE FROM victim WHERE id = 7');
      await knex.raw(`INSERT INTO victim VALUES (7, 'again')`);
      expectForeign(await versionOf(knex, 7));
    },
  );

  test('repair brings it down, in row, tombstone and feed, in one step, and tells the keys; the feed goes on', async () => {
    const { table, knex, pg } = await attached();
    await poison(knex, 7, HUGE);
    await poison(knex, 8, '-5');
    await knex.raw(`INSERT INTO lockstep.tombstone VALUES ('public.victim', '50', ${HUGE}), ('public.victim', '51', ${nowUs()});
      INSERT INTO lockstep.outbox (version, source, key, op, keys, versions) VALUES (${HUGE}, 'public.victim', '9', 'p', NULL, NULL),
      (-4, 'public.victim', '10', 'd', NULL, NULL), (4, 'public.victim', '11', 'p', '{11,12}', '{4,${HUGE}}')`);
    const taken = async (keys: readonly string[]): Promise<void> => {
      const left = new Set(keys);
      const stop = new AbortController();
      await pg.feed.consume(
        async (changes) => {
          for (const { key, version } of changes) {
            left.delete(key);
            expect(version).toBeGreaterThan(0);
            expect(version).toBeLessThan(nowUs() + 60_000_000);
          }
          if (left.size === 0) stop.abort();
        },
        { sources: [table.source], signal: stop.signal },
      );
    };
    const outbox = await rowsOf<{ record: string }>(
      knex,
      'SELECT to_jsonb(o)::text AS record FROM lockstep.outbox o',
    );
    await taken(['9', '10', '11', '12']);
    for (const { record } of outbox) {
      await knex.raw(
        'INSERT INTO lockstep.outbox SELECT * FROM jsonb_populate_record(NULL::lockstep.outbox, ?::jsonb)',
        [record],
      );
    }
    const [report] = await pg.repair(table);
    expect(report).toMatchObject({ source: 'public.victim', rows: 2, tombstones: 1, changes: 4 });
    expect([...(report?.keys ?? [])].sort()).toEqual(['10', '11', '12', '50', '7', '8', '9']);
    expectForeign(await versionOf(knex, 7));
    expectForeign(await versionOf(knex, 8));
    expect(await rowsOf(knex, 'SELECT key FROM lockstep.tombstone')).toEqual([{ key: '51' }]);
    await taken(['7', '8', '9', '10', '11', '12', '50']);
    const rows = await table.read(['7', '8'], READ);
    for (const row of rows) expectForeign(row?.version ?? 0);
    const outcomes = await table.write([put(7, 'mended'), put(50, 'mended')], CALL);
    expect(outcomes.map(({ kind }) => kind)).toEqual(['written', 'written']);
    expect(await pg.repair([table])).toEqual([
      { source: 'public.victim', rows: 0, tombstones: 0, changes: 0, keys: [] },
    ]);
  });

  test('repair does so as a role that attach could not note in the triggers’ conditions', async () => {
    const at = await attached();
    const { knex, pg, low, table } = at;
    await poison(knex, 7, HUGE);
    // Of a member that was made one since, attach knows nothing.
    await knex.raw(`CREATE ROLE ${low}_group`);
    await pg.attach(table, { grantTo: [`${low}_group`] });
    await knex.raw(`GRANT ${low}_group TO ${low}`);
    const url = new URL(at.url);
    url.username = low;
    const { pg: asMember } = server.store({ knex: server.knex(url.href) });
    const [report] = await asMember.repair(asMember.table<Victim, number>('victim', { key: 'id' }));
    expect(report).toMatchObject({ rows: 1, keys: ['7'] });
    expectForeign(await versionOf(knex, 7));
    await poison(knex, 8, HUGE);
    await at.asLow().raw(`UPDATE victim SET name = 'a' WHERE id = 8`);
    const rows = await rowsOf(knex, 'SELECT lockstep_version::text AS v FROM victim WHERE id = 8');
    expect(rows).toEqual([{ v: HUGE }]);
  });

  test('a tombstone that has one holds up neither puts nor flushes of its key', async () => {
    const { table, knex } = await attached();
    await knex.raw(
      `INSERT INTO lockstep.tombstone VALUES ('public.victim', '50', ${HUGE}), ('public.victim', '51', ${HUGE})`,
    );
    const version = nowUs() + 1 - (nowUs() % 2);
    const outcomes = await table.write(
      [put(50, 'put'), { kind: 'flush', key: '51', value: { id: 51, name: 'flush' }, version }],
      CALL,
    );
    expect(outcomes.map(({ kind }) => kind)).toEqual(['written', 'written']);
    await knex.raw('DELETE FROM victim WHERE id = 50');
    const [tombstone] = await rowsOf<{ v: string }>(
      knex,
      `SELECT version AS v FROM lockstep.tombstone WHERE key = '50'`,
    );
    expectForeign(Number(tombstone?.v));
  });
});

describe('roles that run Lockstep', () => {
  test('must be named: open says so; a member of one that is named counts', async () => {
    const at = await attached();
    const table = await storeOf(at, at.low);
    await at.knex.raw(
      `GRANT USAGE ON SCHEMA lockstep TO ${at.low}; GRANT SELECT ON lockstep.attached TO ${at.low}`,
    );
    await expect(table.open()).rejects.toThrow(InvalidOptionError);
    await expect(table.open()).rejects.toThrow(/grantTo/);
    const app = `app${at.low}`;
    await at.knex.raw(`CREATE ROLE ${app}; GRANT ${app} TO ${at.low}`);
    await at.pg.attach(at.table, { grantTo: [app] });
    await table.open();
    const outcomes = await table.write([put(1, 'mine'), put(2, 'mine')], CALL);
    for (const outcome of outcomes) expect((outcome as { version: number }).version % 4).toBe(2);
    const gone = await table.write([{ kind: 'delete', key: '1', above: 0 }], CALL);
    expect((gone[0] as { version: number }).version % 4).toBe(2);
    expect(await rowsOf(at.knex, 'SELECT count(*)::int AS n FROM lockstep.outbox')).toEqual([{ n: 2 }]);
  });

  test('keep their rights when an installation from before they were recorded is brought up to date', async () => {
    const at = await attached();
    await at.pg.attach(at.table, { grantTo: [at.low] });
    await at.knex.raw(`DROP TRIGGER "~lockstep_stamp" ON victim; DROP TRIGGER "!lockstep_restamp" ON victim;
      DROP FUNCTION lockstep."public.victim:writer"() CASCADE`);
    await at.pg.attach(at.table);
    const table = await storeOf(at, at.low);
    await table.open();
    const [outcome] = await table.write([put(1, 'mine')], CALL);
    expect((outcome as { version: number }).version % 4).toBe(2);
  });
});

describe('row-level security', () => {
  test('roles see, and write, the feed of their own tables only', async () => {
    const at = await attached();
    await at.knex.raw('CREATE TABLE other (id int PRIMARY KEY, name text)');
    const other = at.pg.table<Victim, number>('other', { key: 'id' });
    await at.pg.attach(other);
    await at.knex.raw(`CREATE ROLE b${at.low} LOGIN; GRANT ALL ON victim, other TO ${at.low}, b${at.low}`);
    await at.pg.attach(at.table, { grantTo: [at.low] });
    await at.pg.attach(other, { grantTo: [`b${at.low}`] });
    await at.knex.raw(
      `INSERT INTO other VALUES (1, 'secret'); DELETE FROM other; UPDATE victim SET name = 'x' WHERE id = 1`,
    );
    const low = at.asLow();
    for (const table of ['attached', 'outbox', 'tombstone', 'consumer']) {
      const seen = await rowsOf<{ source: string }>(low, `SELECT DISTINCT source FROM lockstep.${table}`);
      expect(seen.map(({ source }) => source)).not.toContain('public.other');
    }
    expect(await rowsOf(low, 'SELECT key FROM lockstep.outbox')).toEqual([{ key: '1' }]);
    await expect(
      low.raw(`INSERT INTO lockstep.outbox (version, source, key, op) VALUES (4, 'public.other', '1', 'd')`),
    ).rejects.toThrow(/row-level security/);
    await low.raw('DELETE FROM lockstep.tombstone');
    expect(await rowsOf(at.knex, 'SELECT key FROM lockstep.tombstone')).toEqual([{ key: '1' }]);
    await expect((await storeOf(at, at.low, 'other')).open()).rejects.toThrow(/grantTo/);
    const mine = await storeOf(at, at.low);
    await mine.open();
    const [outcome] = await mine.write([put(2, 'mine')], CALL);
    const { version } = outcome as { version: number };
    expect(version % 4).toBe(2);
    const changes: unknown[] = [];
    const stop = new AbortController();
    await mine.feed.consume(
      async (taken) => {
        changes.push(...taken.map(({ source, key }) => `${source} ${key}`));
        if (changes.length === 2) stop.abort();
      },
      { sources: ['public.victim', 'public.other'], signal: stop.signal },
    );
    expect(changes.sort()).toEqual(['public.victim 1', 'public.victim 2']);
    expect(await rowsOf(at.knex, 'SELECT source, key FROM lockstep.outbox ORDER BY version')).toEqual([
      { source: 'public.other', key: '1' },
      { source: 'public.other', key: '1' },
    ]);
  });

  test("a setting that is set before a trusted role's function is called changes nothing", async () => {
    const at = await attached();
    const before = await versionOf(at.knex, 5);
    await at.knex.raw(`CREATE FUNCTION rename(p int, n text) RETURNS void LANGUAGE sql SECURITY DEFINER
      SET search_path = public, pg_temp AS 'UPDATE victim SET name = n WHERE id = p'`);
    const low = at.asLow();
    await low.transaction((trx) =>
      trx.raw(`SET LOCAL lockstep.stamped = 'public.victim'; SELECT rename(5, 'renamed')`),
    );
    const version = await versionOf(at.knex, 5);
    expect(version).toBeGreaterThan(before);
    expectForeign(version);
    const changes = await rowsOf<{ version: string }>(
      at.knex,
      `SELECT version FROM lockstep.outbox WHERE key = '5'`,
    );
    expect(changes.map((change) => Number(change.version))).toEqual([version]);
  });

  test('a session that has become another of them records each put once, as its own', async () => {
    const at = await attached();
    const app = `app${at.low}`;
    await at.knex.raw(`CREATE ROLE ${app}; GRANT ${app} TO ${at.low};
      GRANT SELECT, INSERT, UPDATE, DELETE ON victim TO ${app}`);
    await at.pg.attach(at.table, { grantTo: [app] });
    await at.knex.raw(`ALTER ROLE ${at.low} SET role = ${app}`);
    const table = await storeOf(at, at.low);
    const versions: unknown[] = [];
    for (const id of [1, 1, 40]) {
      const [outcome] = await table.write([put(id, 'mine')], CALL);
      versions.push(outcome?.kind === 'written' ? outcome.version % 8 : outcome);
    }
    expect(versions).toEqual([2, 2, 2]);
    expect(await rowsOf(at.knex, 'SELECT count(*)::int AS n FROM lockstep.outbox')).toEqual([{ n: 3 }]);
    await at.knex.raw(`ALTER ROLE ${at.low} RESET role`);
  });

  test('a role that became a member after attach is stamped and recorded by the triggers', async () => {
    const at = await sceneOn(server);
    await at.knex.raw('CREATE TABLE victim (id int PRIMARY KEY, name text)');
    const group = `${at.low}_group`;
    await at.knex.raw(`CREATE ROLE ${group}; GRANT SELECT, INSERT, UPDATE, DELETE ON victim TO ${group}`);
    await at.pg.attach(at.pg.table<Victim, number>('victim', { key: 'id' }), { grantTo: [group] });
    await at.knex.raw(`GRANT ${group} TO ${at.low}`);
    const table = await storeOf({ ...at, table: undefined as never }, at.low);
    const [one] = await table.write([put(1, 'one')], CALL);
    const [two] = await table.write([put(1, 'two')], CALL);
    const version = await versionOf(at.knex, 1);
    expect([one, two]).toMatchObject([{ kind: 'written' }, { kind: 'written', version }]);
    const changes = await rowsOf<{ version: string }>(at.knex, 'SELECT version FROM lockstep.outbox');
    expect(changes.map((change) => Number(change.version))).toContain(version);
    await at.knex.raw(`REVOKE ${group} FROM ${at.low}; DROP OWNED BY ${group}; DROP ROLE ${group}`);
  });

  test('a table that forces it on the owner is refused by attach, by open, and by TRUNCATE', async () => {
    const at = await sceneOn(server);
    await at.knex.raw(`CREATE SCHEMA shop AUTHORIZATION ${at.low};
      GRANT CREATE ON DATABASE "${new URL(at.url).pathname.slice(1)}" TO ${at.low}`);
    const low = at.asLow();
    await low.raw(`CREATE TABLE shop.victim (id int PRIMARY KEY, name text);
      ALTER TABLE shop.victim ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
      CREATE POLICY p ON shop.victim USING (id > 1)`);
    const store = server.store({ knex: low }).pg;
    const table = store.table<Victim, number>('victim', { key: 'id', schema: 'shop' });
    await expect(store.attach(table)).rejects.toThrow(/FORCE ROW LEVEL SECURITY/);
    await low.raw('ALTER TABLE shop.victim NO FORCE ROW LEVEL SECURITY');
    await store.attach(table);
    await table.open();
    await low.raw(`INSERT INTO shop.victim VALUES (1, 'a'), (2, 'b'); DELETE FROM lockstep.outbox`);
    await low.raw('ALTER TABLE shop.victim FORCE ROW LEVEL SECURITY');
    await expect(low.raw('TRUNCATE shop.victim')).rejects.toThrow(/row-level security/);
    await table.close();
    const again = store.table<Victim, number>('victim', { key: 'id', schema: 'shop' });
    await expect(again.open()).rejects.toThrow(/FORCE ROW LEVEL SECURITY/);
    await low.raw('ALTER TABLE shop.victim NO FORCE ROW LEVEL SECURITY; TRUNCATE shop.victim');
    const gone = await rowsOf(low, `SELECT key FROM ${CHANGES} ORDER BY key`);
    expect(gone).toEqual([{ key: '1' }, { key: '2' }]);
  });
});

describe('a foreign insert that waited for a delete of its key', () => {
  /** Runs `insert` while its key is deleted, put back and deleted again by a transaction that then commits. */
  async function beside(at: Attached, insert: () => Promise<unknown>): Promise<unknown> {
    let inserting: Promise<unknown> = Promise.resolve();
    await at.knex.transaction(async (trx) => {
      await trx.raw('SET LOCAL search_path = logs, public; DELETE FROM victim WHERE id = 5');
      inserting = insert();
      inserting.catch(() => undefined);
      await waiting(at.knex, 1);
      await trx.raw(`INSERT INTO victim VALUES (5, 'b'); DELETE FROM victim WHERE id = 5`);
    });
    return inserting;
  }

  async function aboveTombstone(knex: Knex): Promise<boolean> {
    const [row] = await rowsOf<{ above: boolean }>(
      knex,
      `SELECT v.lockstep_version > t.version AS above FROM victim v, lockstep.tombstone t WHERE v.id = 5 AND t.key = '5'`,
    );
    return row?.above === true;
  }

  test('fires the table’s own triggers as the writer, with the writer’s search_path', async () => {
    const at = await attached();
    await at.knex.raw(`CREATE SCHEMA logs; CREATE TABLE logs.log (who text, path text, name text);
      GRANT USAGE ON SCHEMA logs TO ${at.low}; GRANT ALL ON logs.log TO ${at.low};
      CREATE FUNCTION log_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO log VALUES (current_user, current_setting('search_path'), NEW.name); RETURN NULL; END $$;
      CREATE TRIGGER log_row AFTER INSERT OR UPDATE ON victim FOR EACH ROW EXECUTE FUNCTION log_row()`);
    const low = at.asLow();
    await low.raw('SET search_path = logs, public');
    const insert = (): Promise<unknown> =>
      Promise.resolve(low.raw(`INSERT INTO public.victim VALUES (5, 'mine')`));
    await beside(at, insert);
    expect(await aboveTombstone(at.knex)).toBe(true);
    const seen = await rowsOf<{ who: string; path: string }>(
      at.knex,
      `SELECT DISTINCT who, path FROM logs.log WHERE name = 'mine'`,
    );
    expect(seen).toEqual([{ who: at.low, path: 'logs, public' }]);
    expectForeign(await versionOf(at.knex, 5));
  });

  test('of a role that may only insert ends in a serialization failure, and runs when it is run again', async () => {
    const at = await attached('INSERT');
    const low = at.asLow();
    const insert = (): Promise<unknown> => Promise.resolve(low.raw(`INSERT INTO victim VALUES (5, 'mine')`));
    await expect(beside(at, insert)).rejects.toMatchObject({ code: '40001' });
    await insert();
    expect(await aboveTombstone(at.knex)).toBe(true);
  });
});
