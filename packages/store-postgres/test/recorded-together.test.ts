import { InvalidOptionError } from '@lockstep/core';
import type { Knex } from 'knex';
import { expect, test } from 'vitest';
import type { AttachOptions } from '../src/index.js';
import { CALL, CHANGES, testServer } from './support/database.js';

const server = testServer();

/** Tables of one shape whose changes are recorded in different ways: all rows of a statement together, or (but for `bulk`) each by itself. */
const KINDS = {
  bulk: 'CREATE TABLE t (id int PRIMARY KEY, n int, parent int)',
  plain: 'CREATE TABLE t (id int PRIMARY KEY, n int, parent int)',
  partitioned: `CREATE TABLE t (id int PRIMARY KEY, n int, parent int) PARTITION BY RANGE (id);
    CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (500); CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM (500) TO (100000)`,
} as const;
type Kind = keyof typeof KINDS;

const OPTIONS = { bulk: { bulk: true }, plain: {}, partitioned: {} } as const;

const SOURCE = 'public.t';

/** A database with one such table, and what makes it anew. */
async function database(kind: Kind) {
  if (server.service === undefined) throw new Error('no server');
  const { url } = await server.service.database();
  const { pg, knex } = server.store({ knex: server.knex(url) });
  const attach = async (): Promise<void> => {
    await knex.raw(`DROP TABLE IF EXISTS t; DROP FUNCTION IF EXISTS f, g, h; ${KINDS[kind]}`);
    await pg.attach(pg.table('t', { key: 'id' }), OPTIONS[kind]);
    await knex.raw(
      `DELETE FROM lockstep.outbox; DELETE FROM lockstep.tombstone; INSERT INTO t SELECT g, g, g - 1 FROM generate_series(1, 300) g`,
    );
  };
  return { attach, knex, pg };
}

/** What the feed does not tell, or the tombstones: of rows by key. The outbox still has all that was ever recorded. */
async function untold(knex: Knex): Promise<unknown[]> {
  const { rows } = await knex.raw<{ rows: unknown[] }>(
    `
    SELECT 'put' AS what, t.id FROM t WHERE NOT EXISTS (SELECT FROM ${CHANGES} WHERE source = ? AND op = 'p' AND key = t.id::text AND version = t.lockstep_version)
    UNION ALL
    SELECT 'delete', key::int FROM ${CHANGES} WHERE source = ? AND NOT EXISTS (SELECT FROM t WHERE t.id::text = key)
    GROUP BY key HAVING (array_agg(op::text ORDER BY version DESC))[1] <> 'd'
    UNION ALL
    SELECT 'tombstone', key::int FROM ${CHANGES} WHERE source = ? AND op = 'd' AND NOT EXISTS (
      SELECT FROM lockstep.tombstone b WHERE b.source = changes.source AND b.key = changes.key AND b.version >= changes.version)
    UNION ALL
    SELECT 'below its tombstone', t.id FROM t JOIN lockstep.tombstone b ON b.source = ? AND b.key = t.id::text AND b.version >= t.lockstep_version`,
    [SOURCE, SOURCE, SOURCE, SOURCE],
  );
  return rows;
}

const STATEMENTS: Readonly<Record<string, string>> = {
  'an update of more rows than a record holds': 'UPDATE t SET n = n + 1',
  'an update of none': 'UPDATE t SET n = n + 1 WHERE id < 0',
  'a delete of many': 'DELETE FROM t WHERE id > 20',
  'an insert of many': 'INSERT INTO t SELECT g, g FROM generate_series(1000, 1250) g',
  'ON CONFLICT DO UPDATE':
    'INSERT INTO t SELECT g, 0 FROM generate_series(250, 420) g ON CONFLICT (id) DO UPDATE SET n = -1',
  'ON CONFLICT DO NOTHING':
    'INSERT INTO t SELECT g, 0 FROM generate_series(250, 420) g ON CONFLICT DO NOTHING',
  COPY: "COPY t (id) FROM PROGRAM 'seq 1000 1230'",
  MERGE: `MERGE INTO t USING (SELECT g FROM generate_series(150, 600) g) s ON t.id = s.g
    WHEN MATCHED AND s.g % 3 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET n = -2 WHEN NOT MATCHED THEN INSERT (id, n) VALUES (s.g, 1)`,
  'statements within one': `WITH d AS (DELETE FROM t WHERE id <= 30 RETURNING id), u AS (UPDATE t SET n = 0 WHERE id BETWEEN 31 AND 60 RETURNING id)
    INSERT INTO t SELECT id + 2000, 1 FROM d UNION ALL SELECT id + 2000, 2 FROM u`,
  'a key that is deleted and inserted in one statement':
    'WITH d AS (DELETE FROM t WHERE id <= 30 RETURNING id) INSERT INTO t SELECT id, 1 FROM d',
  'a key that is deleted once the rows are in':
    'WITH d AS (DELETE FROM t WHERE id <= 30 RETURNING id) INSERT INTO t SELECT id, 1 FROM d LIMIT 5',
  'MERGE that deletes a key and inserts it':
    'MERGE INTO t USING (SELECT g, -g AS other FROM generate_series(1, 100) g UNION ALL SELECT -g, g FROM generate_series(1, 90) g) s ON t.id = s.g WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (id, n) VALUES (s.other, 1)',
  'deletes of keys that were deleted before':
    'DELETE FROM t WHERE id <= 200; INSERT INTO t SELECT g, 1 FROM generate_series(1, 300) g ON CONFLICT DO NOTHING; DELETE FROM t WHERE id > 20',
  'keys that move': 'UPDATE t SET id = id + 5000 WHERE id % 2 = 0',
  'a part that is rolled back': `BEGIN; UPDATE t SET n = 5 WHERE id < 10; SAVEPOINT s; UPDATE t SET n = 6; DELETE FROM t WHERE id > 5; ROLLBACK TO s;
    UPDATE t SET n = 7 WHERE id = 1; COMMIT`,
  'a function that writes in the middle of the statement': `CREATE FUNCTION f(i int) RETURNS int LANGUAGE sql VOLATILE AS 'INSERT INTO t VALUES (i + 3000, 1) RETURNING id';
    UPDATE t SET n = f(id) WHERE id < 130`,
  "a trigger of the user's that writes other rows": `CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE t SET n = n + 1 WHERE id = NEW.id - 1 AND pg_trigger_depth() < 3; RETURN NULL; END $$;
    CREATE TRIGGER g AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION g(); UPDATE t SET n = 0 WHERE id > 180`,
  "a trigger of the user's that drops rows, and changes others": `CREATE FUNCTION h() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id % 2 = 0 THEN RETURN NULL; END IF; NEW.n := 9; RETURN NEW; END $$;
    CREATE TRIGGER h BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION h(); UPDATE t SET n = 0; INSERT INTO t SELECT g, 1 FROM generate_series(700, 840) g`,
  'cascades down a chain': `UPDATE t SET parent = NULL WHERE id = 1; ALTER TABLE t ADD FOREIGN KEY (parent) REFERENCES t ON DELETE CASCADE; DELETE FROM t WHERE id = 100`,
  'cascades of a changed key': `UPDATE t SET parent = NULL WHERE id = 1; ALTER TABLE t ADD FOREIGN KEY (parent) REFERENCES t ON UPDATE CASCADE; UPDATE t SET id = id + 7000 WHERE id > 150`,
  'changes in replication': `BEGIN; SET LOCAL session_replication_role = replica; UPDATE t SET n = 0; DELETE FROM t WHERE id > 200; INSERT INTO t VALUES (900, 1), (901, 1); COMMIT`,
  'a snapshot that is kept': `BEGIN ISOLATION LEVEL REPEATABLE READ; UPDATE t SET n = 0; DELETE FROM t WHERE id > 200; INSERT INTO t SELECT g, 1 FROM generate_series(250, 400) g; COMMIT`,
  'a table that is emptied and filled':
    'BEGIN; TRUNCATE t; INSERT INTO t SELECT g, 1 FROM generate_series(200, 400) g; COMMIT',
};

/** Elsewhere the row that moves is refused: the statement's delete may be another transaction's, which it waited for. */
const IN_BULK_ALONE: Readonly<Record<string, string>> = {
  'a key that moves to where another was deleted':
    'WITH d AS (DELETE FROM t WHERE id <= 30 RETURNING id) UPDATE t SET id = d.id FROM d WHERE t.id = d.id + 100',
  "a trigger of the user's that brings rows back": `CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO t VALUES (OLD.id, -1); RETURN NULL; END $$;
    CREATE TRIGGER f AFTER DELETE ON t FOR EACH ROW EXECUTE FUNCTION f(); DELETE FROM t WHERE id <= 120`,
};

test.each(Object.keys(KINDS) as Kind[])(
  'what others do to a %s table is told row by row, by whatever statement (G6)',
  async (kind) => {
    const { attach, knex } = await database(kind);
    const problems: Record<string, unknown> = {};
    const statements = kind === 'bulk' ? { ...STATEMENTS, ...IN_BULK_ALONE } : STATEMENTS;
    for (const [what, sql] of Object.entries(statements)) {
      await attach();
      await knex.raw(sql);
      const missing = await untold(knex);
      if (missing.length > 0) problems[what] = missing.slice(0, 5);
    }
    expect(problems).toEqual({});
  },
  60_000,
);

test.each(Object.keys(KINDS) as Kind[])(
  'an insert into a %s table scans no tombstones, though the session made its plans beside few',
  async (kind) => {
    const { attach, knex } = await database(kind);
    await attach();
    const scans = async (trx: Knex.Transaction): Promise<number> => {
      const { rows } = await trx.raw<{ rows: { n: string }[] }>(
        `SELECT pg_stat_get_xact_numscans('lockstep.tombstone'::regclass) AS n`,
      );
      return Number(rows[0]?.n);
    };
    await knex.raw('DELETE FROM lockstep.tombstone');
    await knex.raw('VACUUM ANALYZE lockstep.tombstone');
    await knex.transaction(async (trx) => {
      const before = await scans(trx);
      // As often as makes plpgsql keep a plan.
      for (let id = 1000; id < 1010; id++) await trx.raw('INSERT INTO t VALUES (?, 1)', [id]);
      expect(await scans(trx)).toBe(before);
    });
  },
);

test('a row is refused that a statement inserts below what it deletes under the same key', async () => {
  const { attach, knex } = await database('bulk');
  await attach();
  await knex.raw(`ALTER TABLE t DISABLE TRIGGER "~lockstep_stamp"; UPDATE t SET lockstep_version = lockstep_version + 4 * 60000000 WHERE id = 7;
    ALTER TABLE t ENABLE ALWAYS TRIGGER "~lockstep_stamp"`);
  const statement =
    'WITH d AS (DELETE FROM t WHERE id = 7 RETURNING id) INSERT INTO t SELECT id, 1 FROM d LIMIT 1';
  await expect(knex.raw(statement)).rejects.toMatchObject({ code: '40001' });
  await knex.raw('DELETE FROM t WHERE id = 7; INSERT INTO t VALUES (7, 1)');
  expect(await untold(knex)).toEqual([]);
});

test('a transaction of the store tells each row at its version, those of another role included', async () => {
  const { attach, knex, pg } = await database('bulk');
  await attach();
  const role = `clerk_${process.pid}`;
  await knex.raw(`CREATE ROLE ${role}; GRANT SELECT, INSERT, UPDATE, DELETE ON t TO ${role}`);
  const changes = await pg.transactions.transaction(async (tx) => {
    const trx = tx.client as Knex.Transaction;
    await trx.raw(
      'UPDATE t SET n = 0 WHERE id <= 150; DELETE FROM t WHERE id > 250; INSERT INTO t VALUES (400, 1)',
    );
    await trx.raw(`SET LOCAL ROLE ${role}; UPDATE t SET n = 1 WHERE id BETWEEN 151 AND 190; RESET ROLE`);
    return tx.changes();
  }, CALL);
  expect(changes).toHaveLength(150 + 50 + 1 + 40);
  expect(await untold(knex)).toEqual([]);
  const { rows } = await knex.raw<{ rows: { key: string; version: string }[] }>(
    'SELECT id::text AS key, lockstep_version AS version FROM t',
  );
  const versions = new Map(rows.map(({ key, version }) => [key, Number(version)]));
  for (const { key, op, version } of changes) if (op === 'put') expect(version).toBe(versions.get(key));
  await knex.raw(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
});

test('a table whose rows are recorded together can become no partition, and inherits from none', async () => {
  const { attach, knex } = await database('bulk');
  await attach();
  await knex.raw('CREATE TABLE parent (LIKE t) PARTITION BY RANGE (id); CREATE TABLE elder (LIKE t)');
  await expect(
    knex.raw('ALTER TABLE parent ATTACH PARTITION t FOR VALUES FROM (1) TO (9999)'),
  ).rejects.toThrow(/lockstep_detach_before_it_inherits/);
  await expect(knex.raw('ALTER TABLE t INHERIT elder')).rejects.toThrow(/lockstep_detach_before_it_inherits/);
});

test('a table that inherits when it is attached has its changes told by whatever table they are made through', async () => {
  const { knex, pg } = await database('bulk');
  await knex.raw(
    'CREATE TABLE parent (id int, n int, parent int); CREATE TABLE t (PRIMARY KEY (id)) INHERITS (parent)',
  );
  const t = pg.table('t', { key: 'id' });
  await expect(pg.attach(t, { bulk: true })).rejects.toThrow(/bulk: public\.t is a partition, or inherits/);
  await pg.attach(t);
  await knex.raw(
    'INSERT INTO t SELECT g, g FROM generate_series(1, 250) g; UPDATE parent SET n = 0; DELETE FROM parent WHERE id > 100; UPDATE t SET n = 1',
  );
  expect(await untold(knex)).toEqual([]);
  await expect(pg.attach(t, { tags: ['n'], bulk: true })).rejects.toThrow(InvalidOptionError);
});

test('attach changes how rows are recorded, and leaves it as it is where it is not told', async () => {
  const { attach, knex, pg } = await database('plain');
  await attach();
  const t = pg.table('t', { key: 'id' });
  const inBulk = async (): Promise<boolean> => {
    const { rows } = await knex.raw<{ rows: unknown[] }>(
      `SELECT FROM pg_trigger WHERE tgrelid = 't'::regclass AND tgname ~ 'record_(inserts|updates|deletes)'`,
    );
    expect([0, 3]).toContain(rows.length);
    return rows.length > 0;
  };
  const steps: readonly [AttachOptions, boolean][] = [
    [{}, false],
    [{ bulk: true }, true],
    [{}, true],
    [{ bulk: false }, false],
    [{ bulk: true }, true],
    // Where values are told, too, each row is recorded by itself.
    [{ tags: ['n'] }, false],
    [{ tags: [] }, false],
    [{ bulk: true }, true],
  ];
  for (const [options, expected] of steps) {
    await pg.attach(t, options);
    expect(await inBulk(), JSON.stringify(options)).toBe(expected);
    await pg.table('t', { key: 'id' }).open();
    await knex.raw('UPDATE t SET n = n + 1; DELETE FROM t WHERE id = 5; INSERT INTO t VALUES (5, 5)');
    expect(await untold(knex), JSON.stringify(options)).toEqual([]);
  }
  await knex.raw('DROP TRIGGER lockstep_record_deletes ON t');
  await expect(pg.table('t', { key: 'id' }).open()).rejects.toThrow(/lacks the triggers/);
  await knex.raw('DROP TRIGGER lockstep_record_inserts ON t; DROP TRIGGER lockstep_record_updates ON t');
  await expect(pg.table('t', { key: 'id' }).open()).rejects.toThrow(/lacks the triggers/);
  await pg.attach(t, { bulk: true });
  await pg.detach(t);
  expect(await inBulk()).toBe(false);
  expect((await knex.raw(`SELECT FROM pg_trigger WHERE tgrelid = 't'::regclass`)).rows).toEqual([]);
});
