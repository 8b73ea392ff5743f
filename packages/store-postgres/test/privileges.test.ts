import { randomBytes } from 'node:crypto';
import { type LockstepError, StoreRefusedError } from '@lockstep/core';
import type { Knex } from 'knex';
import { expect, test } from 'vitest';
import { CALL, testServer } from './support/database.js';
import { type Scene, sceneOn } from './support/roles.js';

const server = testServer();
const scene = (): Promise<Scene> => sceneOn(server);

interface Victim {
  readonly id: number;
  readonly name: string | null;
}

async function rows<T = Record<string, unknown>>(knex: Knex, sql: string): Promise<T[]> {
  return (await knex.raw<{ rows: T[] }>(sql.replaceAll('?', '\\?'))).rows;
}

async function attached({ knex, pg, low }: Scene): Promise<void> {
  await knex.raw('CREATE TABLE victim (id int PRIMARY KEY, name text)');
  await pg.attach(pg.table<Victim>('victim', { key: 'id' }));
  await knex.raw(`GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON victim TO ${low}`);
}

/** The functions as releases before this one made them. */
async function withOldPath(knex: Knex): Promise<void> {
  await knex.raw(`DO $$ DECLARE f regprocedure; BEGIN
    FOR f IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'lockstep'::regnamespace LOOP
      EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog', f);
    END LOOP; END $$`);
}

const spies = ['text', 'int8', 'bool', 'jsonb', 'timestamptz'] as const;

test('whoever may write an attached table runs nothing as the role that attached it', async () => {
  const at = await scene();
  await attached(at);
  const low = at.asLow();
  await low.raw(`CREATE TABLE pg_temp.seen (who text)`);
  await low.raw(`GRANT ALL ON pg_temp.seen TO PUBLIC`);
  for (const type of spies) {
    await low.raw(`CREATE FUNCTION pg_temp.spy_${type}(v pg_catalog.${type}) RETURNS boolean LANGUAGE plpgsql AS $$
      BEGIN INSERT INTO pg_temp.seen VALUES (current_user); RETURN true; END $$`);
  }
  // Only now: the statements above would be held up by the domains themselves.
  for (const type of spies) {
    await low.raw(`CREATE DOMAIN pg_temp.${type} AS pg_catalog.${type} CHECK (pg_temp.spy_${type}(VALUE))`);
  }
  await low.raw(`INSERT INTO victim VALUES (1, 'a'), (2, 'b')`);
  await low.raw(`UPDATE victim SET name = 'c' WHERE id = 1`);
  await low.raw(`UPDATE victim SET id = 3 WHERE id = 2`);
  await low.raw('DELETE FROM victim WHERE id = 1');
  await low.raw('TRUNCATE victim');
  expect(await rows(low, 'SELECT DISTINCT who FROM pg_temp.seen')).toEqual([]);
});

test('the functions that attach installs run for triggers alone, and their path ends with pg_temp', async () => {
  const at = await scene();
  await attached(at);
  const functions = await rows<{ config: string[] | null; open: boolean }>(
    at.knex,
    `SELECT p.proconfig AS config, has_function_privilege('${at.low}', p.oid, 'EXECUTE') AS open
     FROM pg_proc p WHERE p.pronamespace = 'lockstep'::regnamespace AND p.prosecdef`,
  );
  expect(functions.length).toBeGreaterThan(3);
  for (const { config, open } of functions) {
    expect(config).toContain('search_path=pg_catalog, pg_temp');
    expect(open).toBe(false);
  }
});

test('an installation that lets writers in is named by open and status, and closed by the next attach', async () => {
  const at = await scene();
  await attached(at);
  await at.knex.raw(`INSERT INTO victim VALUES (1, 'a')`);
  const table = at.pg.table<Victim>('victim', { key: 'id' });
  const warnings: LockstepError[] = [];
  const open = (): Promise<void> => table.open({ onWarning: (warning) => void warnings.push(warning) });
  await open();
  expect(warnings).toEqual([]);
  expect(await at.pg.feed.status(['public.victim'])).not.toHaveProperty('warnings');
  await withOldPath(at.knex);
  await at.knex.raw(`UPDATE lockstep.attached SET fingerprint = 'of another release'`);
  await open();
  expect(warnings.map(({ code }) => code)).toEqual(['LOCKSTEP_STORE_INSECURE']);
  expect(warnings[0]?.message).toContain('public.victim');
  const { warnings: told } = await at.pg.feed.status(['public.victim']);
  expect(told).toEqual([expect.stringContaining('attach again')]);
  // It works as it did.
  const [outcome] = await table.write(
    [{ kind: 'put', key: '1', value: { id: 1, name: 'b' }, above: 0 }],
    CALL,
  );
  expect(outcome?.kind).toBe('written');
  await at.pg.attach(table);
  expect(await at.pg.feed.status(['public.victim'])).not.toHaveProperty('warnings');
  warnings.length = 0;
  await open();
  expect(warnings).toEqual([]);
});

test('whoever owns an attached table, and gives its name to a view, runs nothing as the role that attached it', async () => {
  const at = await scene();
  await at.knex.raw(`GRANT CREATE ON SCHEMA public TO ${at.low}`);
  const low = at.asLow();
  await low.raw('CREATE TABLE victim (id int PRIMARY KEY, name text)');
  await at.pg.attach(at.pg.table<Victim>('victim', { key: 'id' }), { bulk: true });
  await low.raw(`ALTER TABLE victim RENAME TO renamed; CREATE TABLE seen (who text); GRANT ALL ON seen TO PUBLIC;
    CREATE FUNCTION spy() RETURNS bigint LANGUAGE plpgsql AS $$
      BEGIN INSERT INTO public.seen VALUES (current_user); RETURN 9000000000000000000; END $$;
    CREATE VIEW victim AS SELECT 1 AS id, ''::text AS name, public.spy() AS lockstep_version`);
  await low.raw("SET lockstep.moved = 'yes'");
  await low.raw(`INSERT INTO renamed VALUES (1, 'a'), (2, 'b')`);
  await low.raw('DELETE FROM renamed WHERE id = 1');
  await low.raw('TRUNCATE renamed');
  expect(await rows(low, 'SELECT DISTINCT who FROM seen')).toEqual([]);
});

test.each(['$lockstep$', '$lockstep_truncate$', '$lockstep_marks$', '$lockstep_again$'])(
  'names that hold %s end no statement of attach',
  async (quote) => {
    const at = await scene();
    const name = `a${quote}; SELECT 1/0 --`;
    await at.knex.raw('CREATE TABLE ?? (?? int PRIMARY KEY, name text)', [name, name]);
    const table = at.pg.table<Victim>(name, { key: name });
    for (const bulk of [true, false]) await at.pg.attach(table, { bulk });
    await at.knex.raw('INSERT INTO ?? VALUES (1)', [name]);
    await at.knex.raw('TRUNCATE ??', [name]);
    expect(await rows(at.knex, `SELECT key, op FROM lockstep.outbox ORDER BY version`)).toEqual([
      { key: '1', op: 'p' },
      { key: '1', op: 'd' },
    ]);
    await at.pg.detach(table);
  },
);

const SPY = `CREATE FUNCTION lockstep.evil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  RAISE EXCEPTION 'ran as %', current_user; END $$`;
const ATTACHED = `CREATE TABLE lockstep.attached (source text PRIMARY KEY, relation text NOT NULL, version_column text NOT NULL,
  key_columns text[] NOT NULL, key_sql text NOT NULL, fingerprint text NOT NULL, attached_at timestamptz NOT NULL DEFAULT now())`;

test.each([
  {
    what: 'a schema of theirs with a trigger',
    first: (low: string) => `SET LOCAL ROLE ${low}; CREATE SCHEMA lockstep; ${SPY}; ${ATTACHED};
      CREATE TRIGGER t BEFORE INSERT ON lockstep.attached FOR EACH ROW EXECUTE FUNCTION lockstep.evil(); RESET ROLE`,
    says: (low: string) => `schema lockstep belongs to ${low}: ALTER SCHEMA lockstep OWNER TO`,
  },
  {
    what: 'a table of theirs',
    first: (low: string) => `CREATE SCHEMA lockstep; GRANT CREATE ON SCHEMA lockstep TO ${low}; ${ATTACHED};
      ALTER TABLE lockstep.attached OWNER TO ${low}; REVOKE CREATE ON SCHEMA lockstep FROM ${low}`,
    says: (low: string) => `lockstep.attached belongs to ${low}: ALTER TABLE lockstep.attached OWNER TO`,
  },
  {
    what: 'the right to create',
    first: (low: string) => `CREATE SCHEMA lockstep; GRANT CREATE ON SCHEMA lockstep TO ${low}`,
    says: (low: string) =>
      `${low} may create in schema lockstep: REVOKE CREATE ON SCHEMA lockstep FROM ${low}`,
  },
  {
    what: 'everybody’s right to write',
    first: () => `CREATE SCHEMA lockstep; ${ATTACHED}; GRANT INSERT ON lockstep.attached TO PUBLIC`,
    says: () => 'PUBLIC may INSERT lockstep.attached: REVOKE INSERT ON lockstep.attached FROM PUBLIC',
  },
  {
    what: 'a default that calls their function',
    first: (low: string) => `CREATE SCHEMA theirs AUTHORIZATION ${low}; CREATE SCHEMA lockstep; ${ATTACHED};
      CREATE FUNCTION theirs.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT pg_catalog.now()';
      ALTER FUNCTION theirs.now() OWNER TO ${low};
      ALTER TABLE lockstep.attached ALTER COLUMN attached_at SET DEFAULT theirs.now()`,
    says: (low: string) => `calls theirs.now(), which belongs to ${low}`,
  },
])('attach refuses what others could act through: $what', async ({ first, says }) => {
  const at = await scene();
  await at.knex.raw(`GRANT CREATE ON DATABASE "${new URL(at.url).pathname.slice(1)}" TO ${at.low}`);
  await at.knex.transaction((trx) => trx.raw(first(at.low)));
  await at.knex.raw('CREATE TABLE victim (id int PRIMARY KEY, name text)');
  const error = await at.pg.attach(at.pg.table<Victim>('victim', { key: 'id' })).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(Error);
  const { message } = error as Error;
  if (!message.includes('schema lockstep belongs to') && !message.includes('lockstep.attached belongs to')) {
    expect(error).toBeInstanceOf(StoreRefusedError);
  }
  expect(message).toContain(says(at.low).split(': ')[0]);
  await expect(
    at.knex.transaction(async (trx) => {
      await at.pg.migration(at.pg.table('victim', { key: 'id' })).up(trx);
    }),
  ).rejects.toThrow(says(at.low));
});

test('a role that can become the attaching role may own the schema', async () => {
  const at = await scene();
  const deploy = `deploy_${randomBytes(6).toString('hex')}`;
  await at.knex.raw(`CREATE ROLE ${deploy} LOGIN; GRANT ${deploy} TO ${at.low};
    CREATE SCHEMA lockstep AUTHORIZATION ${at.low}; CREATE SCHEMA shop AUTHORIZATION ${deploy};
    GRANT USAGE, CREATE ON SCHEMA lockstep TO ${deploy}`);
  const url = new URL(at.url);
  url.username = deploy;
  const { pg, knex } = server.store({ knex: server.knex(url.href) });
  await knex.raw('CREATE TABLE shop.victim (id int PRIMARY KEY, name text)');
  const table = pg.table<Victim>('victim', { key: 'id', schema: 'shop' });
  await pg.attach(table);
  await table.open();
});
