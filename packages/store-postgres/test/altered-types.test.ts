import { expect, test } from 'vitest';
import { CHANGES, testServer } from './support/database.js';
import { sceneOn } from './support/roles.js';

const server = testServer();

const SPY = `CREATE FUNCTION theirs.spy() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
  IF current_user <> session_user THEN RAISE EXCEPTION 'ran as %', current_user USING ERRCODE = 'LSSPY'; END IF;
  RETURN true; END $$;
CREATE DOMAIN theirs.version AS int8 CHECK (theirs.spy());
CREATE TYPE theirs.odd AS ENUM ('1', '2');
CREATE FUNCTION theirs.text_of(theirs.odd) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM theirs.spy(); RETURN '1'; END $$;
CREATE CAST (theirs.odd AS text) WITH FUNCTION theirs.text_of(theirs.odd);
CREATE DOMAIN theirs.odder AS theirs.odd;
CREATE DOMAIN theirs.short AS text CHECK (length(VALUE) < 9);
CREATE DOMAIN theirs.shorter AS theirs.short CHECK (length(VALUE) < 3)`;

/** A table of the role's own, which another role attached. */
async function owned(keyType: string) {
  const at = await sceneOn(server);
  await at.knex.raw(`CREATE SCHEMA theirs AUTHORIZATION ${at.low}`);
  const low = at.asLow();
  await low.raw(SPY);
  await low.raw(`CREATE TABLE theirs.t (id ${keyType} PRIMARY KEY, name text)`);
  await at.pg.attach(at.pg.table('t', { key: 'id', schema: 'theirs' }));
  await low.raw(`INSERT INTO theirs.t VALUES ('1', 'a')`);
  return { ...at, low };
}

const REFUSED = expect.objectContaining({ code: '42804' });

test.each([
  ['version', 'text', 'ALTER lockstep_version TYPE theirs.version'],
  ['key', 'text', `ALTER id TYPE theirs.odd USING '1'::theirs.odd`],
  ['key', 'theirs.short', `ALTER id TYPE theirs.odder USING '1'::theirs.odd`],
])(
  'an owner who alters the type of the %s (%s, %s) runs nothing as the role that attached',
  async (part, type, alter) => {
    const { low } = await owned(type);
    if (part === 'version') {
      // Conditions of triggers read it: the server itself refuses, until the owner has dropped those triggers.
      await expect(low.raw(`ALTER TABLE theirs.t ${alter}`)).rejects.toThrow(/used in a trigger definition/);
      await low.raw(
        'DROP TRIGGER "!lockstep_record_insert" ON theirs.t; DROP TRIGGER "!lockstep_restamp" ON theirs.t',
      );
    }
    await low.raw(`ALTER TABLE theirs.t ${alter}`);
    for (const write of [
      `INSERT INTO theirs.t (id) VALUES ('2')`,
      `UPDATE theirs.t SET name = 'b'`,
      'DELETE FROM theirs.t',
      'TRUNCATE theirs.t',
    ]) {
      await expect(low.raw(write), write).rejects.toEqual(REFUSED);
    }
  },
);

test.each([
  ['int4', 'ALTER id TYPE int8'],
  ['theirs.short', 'ALTER id TYPE text'],
  ['theirs.odd', 'ALTER name TYPE varchar(9)'],
  ['theirs.shorter', 'ALTER name TYPE varchar(9)'],
])(
  'a key of type %s can be written as before, and its type be altered to one of the server (%s)',
  async (type, alter) => {
    const { asLow, knex, low: earlier } = await owned(type);
    await earlier.raw(`ALTER TABLE theirs.t ${alter}`);
    // The plans of plpgsql in the session that altered the type are of the type before.
    const low = asLow();
    await low.raw(`INSERT INTO theirs.t (id) VALUES ('2')`);
    await low.raw(`UPDATE theirs.t SET name = 'b' WHERE id = '1'`);
    await low.raw(`DELETE FROM theirs.t WHERE id = '1'`);
    await low.raw('TRUNCATE theirs.t');
    const { rows } = await knex.raw<{ rows: unknown[] }>(
      `SELECT key, op FROM ${CHANGES} ORDER BY version, id`,
    );
    expect(rows).toEqual([
      { key: '1', op: 'p' },
      { key: '2', op: 'p' },
      { key: '1', op: 'p' },
      { key: '1', op: 'd' },
      { key: '2', op: 'd' },
    ]);
  },
);

test('a key of a domain over an enum is refused, since no write of its table would succeed', async () => {
  await expect(owned('theirs.odder')).rejects.toThrow(/domain over an enum/);
});
