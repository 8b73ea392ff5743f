import { InvalidOptionError } from '@lockstep/core';
import type { Knex } from 'knex';
import { describe, expect, test } from 'vitest';
import { testServer } from './support/database.js';

const server = testServer({ max_prepared_transactions: 5, wal_level: 'logical' });

/** What each statement answers, on one connection. */
async function answers(knex: Knex, statements: readonly string[]): Promise<string[]> {
  const connection = (await knex.client.acquireConnection()) as {
    query(sql: string): Promise<unknown>;
  };
  try {
    const all: string[] = [];
    for (const sql of statements) {
      const answer = connection.query(sql).then(
        () => 'ok',
        (error: { code?: unknown }) => String(error.code),
      );
      all.push(await answer);
    }
    return all;
  } finally {
    await connection.query('ROLLBACK');
    await knex.client.releaseConnection(connection);
  }
}

const random = (parts: number): string =>
  `(SELECT string_agg(md5(i::text || random()::text), '') FROM generate_series(1, ${parts}) i)`;

describe('what other programs could do before attach they can do after it', () => {
  test.each([
    {
      name: 'two-phase commit',
      table: 'phases',
      ddl: 'CREATE TABLE phases (id int PRIMARY KEY, n int)',
      key: ['id'],
      statements: [
        'BEGIN',
        'INSERT INTO phases VALUES (1, 1)',
        'UPDATE phases SET n = 2',
        'DELETE FROM phases',
        "PREPARE TRANSACTION 'phases'",
        "COMMIT PREPARED 'phases'",
        'BEGIN',
        'TRUNCATE phases',
        "PREPARE TRANSACTION 'phases'",
        "ROLLBACK PREPARED 'phases'",
      ],
    },
    {
      name: 'infinite times in the key',
      table: 'periods',
      ddl: 'CREATE TABLE periods (id int, until timestamptz, day date, n int, PRIMARY KEY (id, until, day))',
      key: ['id', 'until', 'day'],
      statements: [
        "INSERT INTO periods VALUES (1, 'infinity', '-infinity'), (1, '-infinity', 'infinity')",
        'UPDATE periods SET n = 1',
        "UPDATE periods SET until = now(), day = '4714-11-24 BC' WHERE until = 'infinity'",
        'DELETE FROM periods',
        "INSERT INTO periods VALUES (1, 'infinity', '5874897-12-31')",
        'TRUNCATE periods',
      ],
    },
    {
      name: 'keys as long as an index holds them',
      table: 'long_text',
      ddl: 'CREATE TABLE long_text (id text PRIMARY KEY, n int)',
      key: ['id'],
      statements: [
        `INSERT INTO long_text VALUES (${random(84)}), (${random(50)})`,
        `INSERT INTO long_text SELECT id FROM long_text ON CONFLICT (id) DO UPDATE SET n = 1`,
        `UPDATE long_text SET id = ${random(84)} WHERE length(id) > 2000`,
        'DELETE FROM long_text',
        `INSERT INTO long_text VALUES (${random(84)})`,
        'TRUNCATE long_text',
        'BEGIN ISOLATION LEVEL REPEATABLE READ',
        `INSERT INTO long_text VALUES (${random(84)})`,
        'COMMIT',
      ],
    },
    {
      name: 'long bytes',
      table: 'long_bytes',
      ddl: 'CREATE TABLE long_bytes (id bytea PRIMARY KEY)',
      key: ['id'],
      statements: [
        `INSERT INTO long_bytes VALUES (decode(${random(84)}, 'hex'))`,
        `UPDATE long_bytes SET id = decode(${random(80)}, 'hex')`,
        'DELETE FROM long_bytes',
      ],
    },
    {
      name: 'empty keys',
      table: 'empty_text',
      ddl: 'CREATE TABLE empty_text (id text PRIMARY KEY)',
      key: ['id'],
      statements: ["INSERT INTO empty_text VALUES ('')", 'DELETE FROM empty_text'],
    },
  ])('$name', async ({ table: name, ddl, key, statements }) => {
    const { pg, knex } = server.store();
    await knex.raw(ddl);
    const before = await answers(knex, statements);
    expect(before.filter((each) => each !== 'ok')).toEqual([]);
    await knex.raw(`TRUNCATE ${name}`);
    await pg.attach(pg.table(name, { key }));
    expect(await answers(knex, statements)).toEqual(before);
  });
});

describe('what no trigger sees', () => {
  test.each([
    [
      'an unlogged table',
      'CREATE UNLOGGED TABLE unseen (id int PRIMARY KEY)',
      /public\.unseen is temporary or unlogged/,
    ],
    [
      'a table with an unlogged partition',
      `CREATE TABLE unseen (id int PRIMARY KEY) PARTITION BY RANGE (id);
       CREATE UNLOGGED TABLE unseen_1 PARTITION OF unseen FOR VALUES FROM (1) TO (10)`,
      /public\.unseen_1 is temporary or unlogged/,
    ],
    [
      'a table that others inherit from',
      'CREATE TABLE unseen (id int PRIMARY KEY); CREATE TABLE unseen_child () INHERITS (unseen)',
      /public\.unseen_child inherits from it/,
    ],
  ])('%s is refused', async (_, ddl, message) => {
    const { pg, knex } = server.store();
    await knex.raw(ddl);
    try {
      const attaching = pg.attach(pg.table('unseen', { key: 'id' }));
      await expect(attaching).rejects.toThrow(message);
      await expect(attaching).rejects.toThrow(InvalidOptionError);
    } finally {
      await knex.raw('DROP TABLE unseen CASCADE');
    }
  });

  test('a table that has become one is refused when it is opened, and can still be detached', async () => {
    const { pg, knex } = server.store();
    await knex.raw('CREATE TABLE later (id int PRIMARY KEY)');
    const table = pg.table('later', { key: 'id' });
    await pg.attach(table);
    await knex.raw('ALTER TABLE later SET UNLOGGED');
    await expect(table.open()).rejects.toThrow(/temporary or unlogged/);
    await pg.detach(table);
    await knex.raw('INSERT INTO later VALUES (1)');
  });
});

describe('what only some triggers see', () => {
  async function changesOf(knex: Knex, source: string): Promise<string[]> {
    const { rows } = await knex.raw<{ rows: { change: string }[] }>(
      "SELECT op::text || ' ' || key AS change FROM lockstep.outbox WHERE source = ? ORDER BY version, id",
      [source],
    );
    return rows.map(({ change }) => change);
  }

  test('session_replication_role = replica: changes are seen, in partitions that were made later, too', async () => {
    const { pg, knex } = server.store();
    await knex.raw(
      `CREATE TABLE parts (id int PRIMARY KEY, n int) PARTITION BY RANGE (id);
       CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (1) TO (10)`,
    );
    const table = pg.table('parts', { key: 'id' });
    await pg.attach(table);
    await knex.raw('CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20)');
    await knex.transaction(async (trx) => {
      await trx.raw('SET LOCAL session_replication_role = replica');
      await trx.raw('INSERT INTO parts VALUES (1, 1), (11, 1)');
      await trx.raw('UPDATE parts SET n = 2');
      await trx.raw('DELETE FROM parts WHERE id = 11');
      await trx.raw('TRUNCATE parts_1');
    });
    const changes = await changesOf(knex, table.source);
    expect(changes).toEqual(['p 1', 'p 11', 'p 1', 'p 11', 'd 11', 'd 1']);
  });

  test('a partition that was made later is warned about by name: nobody records its TRUNCATE', async () => {
    const { pg, knex } = server.store();
    await knex.raw('CREATE TABLE later_parts (id int PRIMARY KEY) PARTITION BY RANGE (id)');
    const table = pg.table('later_parts', { key: 'id' });
    await pg.attach(table);
    await knex.raw('CREATE TABLE later_parts_1 PARTITION OF later_parts FOR VALUES FROM (1) TO (10)');
    const { promise, resolve } = Promise.withResolvers<string>();
    process.once('warning', (warning) => resolve(warning.message));
    await table.open();
    expect(await promise).toMatch(/TRUNCATE of public\.later_parts_1 is not recorded/);
  });

  test('rows that a subscription brings are seen', async () => {
    const { pg, knex } = server.store();
    if (server.service === undefined) throw new Error('the server has not started');
    const publisher = await server.service.database();
    const source = server.knex(publisher.url);
    const ddl = 'CREATE TABLE replicated (id int PRIMARY KEY, n int)';
    await source.raw(ddl);
    await source.raw('INSERT INTO replicated VALUES (1, 1), (2, 1)');
    await source.raw('CREATE PUBLICATION brought FOR TABLE replicated');
    // A subscription within one server can't make its slot itself.
    await source.raw("SELECT pg_create_logical_replication_slot('brought', 'pgoutput')");
    await knex.raw(ddl);
    const table = pg.table('replicated', { key: 'id' });
    await pg.attach(table);
    const url = new URL(publisher.url);
    const connection = `host=${url.hostname} port=${url.port} dbname=${url.pathname.slice(1)} user=${url.username} password=${decodeURIComponent(url.password)}`;
    await knex.raw(
      `CREATE SUBSCRIPTION brought CONNECTION '${connection}' PUBLICATION brought WITH (create_slot = false, slot_name = 'brought')`,
    );
    try {
      const seen = async (...wanted: string[]): Promise<void> => {
        for (;;) {
          const changes = await changesOf(knex, table.source);
          if (wanted.every((change) => changes.includes(change))) return;
        }
      };
      await seen('p 1', 'p 2');
      await source.raw('UPDATE replicated SET id = 3 WHERE id = 1');
      await source.raw('DELETE FROM replicated WHERE id = 2');
      await seen('d 1', 'p 3', 'd 2');
    } finally {
      await knex.raw('DROP SUBSCRIPTION brought');
    }
  });
});
