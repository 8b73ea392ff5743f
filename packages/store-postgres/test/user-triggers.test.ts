import { createLockstep, type StoreCommand, type StoreOutcome, systemClock } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import type { Knex } from 'knex';
import { beforeAll, describe, expect, test } from 'vitest';
import type { PostgresStore, PostgresTable } from '../src/index.js';
import { CALL, READ, testServer } from './support/database.js';

interface Post {
  readonly id: string;
  readonly title: string;
  readonly slug?: string | null;
  readonly n?: number;
}

const server = testServer();
let knex: Knex;
let pg: PostgresStore;
let tables = 0;

beforeAll(() => {
  ({ knex, pg } = server.store());
});

/** A table of posts with a trigger. `$T` is the table, `$F` the trigger's function of this body. */
async function posts(body: string, ...triggers: string[]): Promise<PostgresTable<Post, string>> {
  const name = `posts_${++tables}`;
  const named = (sql: string): string => sql.replaceAll('$T', name).replaceAll('$F', `${name}_f`);
  await knex.raw(
    `CREATE TABLE ${name} (id text PRIMARY KEY, title text, slug text, n int NOT NULL DEFAULT 0)`,
  );
  await knex.raw(named(`CREATE FUNCTION $F() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN ${body} END $f$`));
  for (const trigger of triggers) await knex.raw(named(`CREATE ${trigger} EXECUTE FUNCTION $F()`));
  const table = pg.table<Post, string>(name, { key: 'id' });
  await pg.attach(table);
  await table.open();
  return table;
}

const put = (id: string, title: string) =>
  ({ kind: 'put', key: id, value: { id, title }, above: 0 }) as const;

/** What was acknowledged is what the database has: key, value and version. */
async function expectCommitted(
  table: PostgresTable<Post, string>,
  commands: readonly StoreCommand<Post>[],
  outcomes: readonly StoreOutcome<Post>[],
): Promise<void> {
  for (const [i, outcome] of outcomes.entries()) {
    if (outcome.kind !== 'written') throw new Error(`not written: ${JSON.stringify(outcome)}`);
    const key = outcome.key ?? commands[i]?.key ?? '';
    const [row] = await table.read([key], READ);
    expect(row?.value ?? null).toEqual(outcome.value);
    if (row !== undefined) expect(row.version).toBe(outcome.version);
  }
}

const SLUG = `IF pg_trigger_depth() = 1 THEN
  UPDATE $T SET slug = lower(title) WHERE slug IS DISTINCT FROM lower(title); END IF; RETURN NULL;`;
const ONE_SLUG = `UPDATE $T SET slug = lower(title) WHERE id = NEW.id AND slug IS DISTINCT FROM lower(title); RETURN NULL;`;

describe.each([
  ['AFTER, for each row', ONE_SLUG, 'TRIGGER slugs AFTER INSERT OR UPDATE ON $T FOR EACH ROW'],
  ['AFTER, for each statement', SLUG, 'TRIGGER slugs AFTER INSERT OR UPDATE ON $T FOR EACH STATEMENT'],
  [
    'a constraint that is deferred',
    ONE_SLUG,
    'CONSTRAINT TRIGGER slugs AFTER INSERT OR UPDATE ON $T DEFERRABLE INITIALLY DEFERRED FOR EACH ROW',
  ],
  [
    'a constraint that can be deferred',
    ONE_SLUG,
    'CONSTRAINT TRIGGER slugs AFTER INSERT OR UPDATE ON $T DEFERRABLE FOR EACH ROW',
  ],
])('a trigger that completes rows: %s', (_, body, trigger) => {
  const slugs = (): Promise<PostgresTable<Post, string>> => {
    const name = `posts_${tables + 1}`;
    return posts(body.replaceAll('$T', name), trigger);
  };

  test('what is acknowledged is the completed row, at its version', async () => {
    const table = await slugs();
    const write = async (...commands: StoreCommand<Post>[]): Promise<readonly StoreOutcome<Post>[]> => {
      const outcomes = await table.write(commands, CALL);
      await expectCommitted(table, commands, outcomes);
      return outcomes;
    };
    const [one] = await write(put('a', 'One'));
    expect(one).toMatchObject({ value: { slug: 'one' } });
    await write(put('a', 'Two'), put('b', 'Two'), put('c', 'Two'));
    const [inserted] = await write({ ...put('d', 'Three'), ifVersion: null });
    const version = inserted?.kind === 'written' ? inserted.version : 0;
    const [replaced] = await write({ ...put('d', 'Four'), ifVersion: version });
    expect(replaced).toMatchObject({ value: { slug: 'four' } });
    await write({ kind: 'increment', key: 'd', field: 'n', by: 2, above: 0 });
  });

  test('a transaction tells the version that the row has after it, and refuses what a constraint refuses', async () => {
    const table = await slugs();
    const changes = await pg.transactions.transaction(async (tx) => {
      await table.write([put('a', 'One')], { ...CALL, tx });
      return await tx.changes();
    }, CALL);
    const [row] = await table.read(['a'], READ);
    expect(row?.value.slug).toBe('one');
    expect(changes).toMatchObject([{ key: 'a', version: row?.version }]);
  });

  test('no caller and no reader of a cache gets the row as it was before', async () => {
    const table = await slugs();
    const lockstep = createLockstep({ cache: memoryCache() });
    const collection = lockstep.collection({ name: 'posts', store: table });
    try {
      const put = await collection.put('a', { id: 'a', title: 'One' });
      expect(put.value?.slug).toBe('one');
      expect((await collection.get('a'))?.slug).toBe('one');
      await lockstep.transaction((tx) => collection.put('a', { id: 'a', title: 'Two' }, { tx }));
      expect((await collection.get('a'))?.slug).toBe('two');
      const written = await collection.write('a', async (tx) => {
        await (tx as Knex.Transaction)(table.spec.table).update({ title: 'Three' });
      });
      expect(written.value?.slug).toBe('three');
      expect(await collection.getVersioned('a')).toMatchObject({
        value: { slug: 'three' },
        version: written.version,
      });
      const last = await collection.put('a', { id: 'a', title: 'Four' });
      await collection.put('a', { id: 'a', title: 'Five' }, { ifVersion: last.version });
      expect((await collection.get('a'))?.slug).toBe('five');
    } finally {
      await lockstep.close();
    }
  });

  test('a buffered write that a trigger has completed counts as superseded', async () => {
    const table = await slugs();
    const version = Date.now() * 1000 + 1;
    const flush = { kind: 'flush', key: 'a', value: { id: 'a', title: 'One' }, version } as const;
    const [outcome] = await table.write([flush], CALL);
    const [row] = await table.read(['a'], READ);
    expect(outcome).toEqual({ kind: 'superseded', version: row?.version });
  });
});

describe('a trigger that gives rows another key', () => {
  const LOW = 'NEW.id := lower(NEW.id); RETURN NEW;';
  const lower = (): Promise<PostgresTable<Post, string>> =>
    posts(LOW, 'TRIGGER low BEFORE INSERT OR UPDATE ON $T FOR EACH ROW');

  test.each([1, 5])('outcomes of %i rows name the rows that were written', async (size) => {
    const table = await lower();
    const ids = Array.from({ length: size }, (_, i) => (i % 2 === 0 ? `Ann${i}` : `bob${i}`));
    const writes: StoreCommand<Post>[][] = [
      ids.map((id) => put(id, 'One')),
      ids.map((id) => ({ ...put(`New${id}`, 'Two'), ifVersion: null })),
    ];
    for (const commands of writes) {
      const outcomes = await table.write(commands, CALL);
      await expectCommitted(table, commands, outcomes);
      for (const [i, outcome] of outcomes.entries()) {
        expect(outcome.kind === 'written' && outcome.value?.id).toBe(commands[i]?.key.toLowerCase());
      }
    }
    expect(await knex(table.spec.table).select('id')).toHaveLength(2 * size);
  });

  test('two ids that become one row: each of the two is told of it', async () => {
    const table = await lower();
    const commands = [put('Ann', 'One'), put('ANN', 'Two'), put('bob', 'Three')];
    const outcomes = await table.write(commands, CALL);
    expect(outcomes.map(({ kind }) => kind)).toEqual(['written', 'written', 'written']);
    expect(await knex(table.spec.table).select('id')).toHaveLength(2);
  });

  test('a buffered write of such a key is not held for the row under it', async () => {
    const table = await lower();
    const version = Date.now() * 1000 + 1;
    const commands = ['Ann', 'bob'].map(
      (id): StoreCommand<Post> => ({ kind: 'flush', key: id, value: { id, title: 'One' }, version }),
    );
    const outcomes = await table.write(commands, CALL);
    expect(outcomes).toMatchObject([{ kind: 'superseded' }, { kind: 'written', version }]);
    expect(outcomes[0]?.kind === 'superseded' && outcomes[0].version).toBeGreaterThan(version);
  });

  test('nothing is cached under a key that no row has, and both keys are in step', async () => {
    const table = await lower();
    const lockstep = createLockstep({ cache: memoryCache() });
    const users = lockstep.collection({ name: 'users', store: table });
    try {
      expect(await users.get('ann')).toBeUndefined();
      const written = await users.put('Ann', { id: 'Ann', title: 'One' });
      expect(written).toMatchObject({ cache: 'invalidated', value: { id: 'ann' } });
      expect(await users.get('Ann')).toBeUndefined();
      expect(await users.get('ann')).toMatchObject({ title: 'One' });
      await users.put('ANN', { id: 'ANN', title: 'Two' });
      expect(await users.get('ann')).toMatchObject({ title: 'Two' });
      await lockstep.transaction((tx) => users.put('Ann', { id: 'Ann', title: 'Three' }, { tx }));
      expect(await users.get('ann')).toMatchObject({ title: 'Three' });
      expect(await users.get('Ann')).toBeUndefined();
      const many = await users.putMany([
        ['Bob', { id: 'Bob', title: 'One' }],
        ['Cy', { id: 'Cy', title: 'One' }],
      ]);
      expect(many.map(({ value }) => value?.id)).toEqual(['bob', 'cy']);
    } finally {
      await lockstep.close();
    }
  });
});

describe('a trigger that drops or keeps rows', () => {
  test('a put that was dropped is refused, and the others of its batch are written', async () => {
    const table = await posts(
      "IF NEW.title = 'no' THEN RETURN NULL; END IF; RETURN NEW;",
      'TRIGGER drops BEFORE INSERT OR UPDATE ON $T FOR EACH ROW',
    );
    const refused = { kind: 'failed', error: { code: 'LOCKSTEP_STORE_REFUSED' } };
    expect(await table.write([put('a', 'no')], CALL)).toMatchObject([refused]);
    expect(await table.write([put('a', 'yes'), put('b', 'no'), put('c', 'yes')], CALL)).toMatchObject([
      { kind: 'written' },
      refused,
      { kind: 'written' },
    ]);
  });

  test('a deletion that only marks the row is told as the row that is there', async () => {
    const name = `posts_${tables + 1}`;
    const table = await posts(
      `UPDATE ${name} SET title = 'gone' WHERE id = OLD.id; RETURN NULL;`,
      'TRIGGER soft BEFORE DELETE ON $T FOR EACH ROW',
    );
    const [written] = await table.write([put('a', 'One')], CALL);
    const commands: StoreCommand<Post>[] = [{ kind: 'delete', key: 'a', above: 0 }];
    const outcomes = await table.write(commands, CALL);
    expect(outcomes).toMatchObject([{ kind: 'written', value: { title: 'gone' } }]);
    await expectCommitted(table, commands, outcomes);
    const version = written?.kind === 'written' ? written.version : 0;
    const stale: StoreCommand<Post> = { kind: 'delete', key: 'a', above: 0, ifVersion: version };
    expect(await table.write([stale], CALL)).toMatchObject([{ kind: 'conflict' }]);
  });

  test('a deletion that a trigger forbids is refused', async () => {
    const table = await posts('RETURN NULL;', 'TRIGGER keeps BEFORE DELETE ON $T FOR EACH ROW');
    await table.write([put('a', 'One')], CALL);
    const outcomes = await table.write([{ kind: 'delete', key: 'a', above: 0 }], CALL);
    expect(outcomes).toMatchObject([{ kind: 'failed', error: { code: 'LOCKSTEP_STORE_REFUSED' } }]);
  });

  test('a row that its own trigger deletes or puts back is told so', async () => {
    const name = `posts_${tables + 1}`;
    const table = await posts(
      `IF TG_OP = 'DELETE' THEN INSERT INTO ${name} (id, title) VALUES (OLD.id, 'back');
       ELSIF NEW.title = 'bad' THEN UPDATE ${name} SET title = 'worse' WHERE id = NEW.id; END IF; RETURN NULL;`,
      'TRIGGER odd AFTER INSERT OR UPDATE OR DELETE ON $T FOR EACH ROW',
    );
    const commands: StoreCommand<Post>[][] = [
      [put('a', 'bad'), put('b', 'good')],
      [{ kind: 'delete', key: 'a', above: 0 }],
    ];
    for (const batch of commands) await expectCommitted(table, batch, await table.write(batch, CALL));
    expect((await table.read(['a'], READ))[0]?.value.title).toBe('back');
  });
});

describe('a trigger that writes the row by itself instead of letting it be inserted', () => {
  const MERGE = (
    name: string,
  ): string => `IF pg_trigger_depth() = 1 AND EXISTS (SELECT FROM ${name} WHERE id = NEW.id) THEN
    UPDATE ${name} SET title = NEW.title || '!' WHERE id = NEW.id; RETURN NULL; END IF;
    IF NEW.title = 'no' THEN RETURN NULL; END IF; RETURN NEW;`;

  test.each([1, 3])(
    'outcomes of %i puts are the rows that it wrote; what it drops is refused',
    async (size) => {
      const table = await posts(
        MERGE(`posts_${tables + 1}`),
        'TRIGGER merged BEFORE INSERT ON $T FOR EACH ROW',
      );
      const ids = ['a', 'b', 'c'].slice(0, size);
      for (const title of ['One', 'Two']) {
        const commands = ids.map((id) => put(id, title));
        await expectCommitted(table, commands, await table.write(commands, CALL));
      }
      expect((await table.read(['a'], READ))[0]?.value.title).toBe('Two!');
      const [dropped, merged] = await table.write([put('d', 'no'), put('a', 'Three')], CALL);
      expect(dropped).toMatchObject({ kind: 'failed', error: { code: 'LOCKSTEP_STORE_REFUSED' } });
      expect(merged).toMatchObject({ kind: 'written', value: { title: 'Three!' } });
    },
  );
});

describe.each(['aaa', 'zzz'])('a trigger that sorts like %s', (trigger) => {
  test('may bring deleted rows back: they are above their tombstones', async () => {
    const table = await posts(
      "INSERT INTO $T VALUES (OLD.id, 'again'); RETURN NULL;".replaceAll('$T', `posts_${tables + 1}`),
      `TRIGGER ${trigger} AFTER DELETE ON $T FOR EACH ROW`,
    );
    await table.write([put('a', 'One')], CALL);
    await knex(table.spec.table).delete();
    await table.write([{ kind: 'delete', key: 'a', above: 0 }], CALL);
    const [row] = await table.read(['a'], READ);
    expect(row?.value.title).toBe('again');
    const { rows } = await knex.raw<{ rows: { version: string }[] }>(
      `SELECT version FROM lockstep.tombstone WHERE source = ?`,
      [table.source],
    );
    expect(row?.version).toBeGreaterThan(Number(rows[0]?.version));
  });

  test('may delete a row that was just written and insert another in its place', async () => {
    const body = (
      name: string,
    ): string => `IF pg_trigger_depth() = 1 THEN DELETE FROM ${name} WHERE id = NEW.id;
      INSERT INTO ${name} VALUES (NEW.id, NEW.title, 'again'); END IF; RETURN NULL;`;
    const table = await posts(
      body(`posts_${tables + 1}`),
      `TRIGGER ${trigger} AFTER INSERT OR UPDATE ON $T FOR EACH ROW`,
    );
    for (const title of ['One', 'Two']) {
      const commands = [put('a', title)];
      const outcomes = await table.write(commands, CALL);
      await expectCommitted(table, commands, outcomes);
      expect(outcomes[0]).toMatchObject({ kind: 'written', value: { title, slug: 'again' } });
    }
  });
});

test('a trigger that would change rows once they are stamped is refused by name', async () => {
  const posting = posts('RETURN NEW;', 'TRIGGER "~zz" BEFORE UPDATE ON $T FOR EACH ROW');
  await expect(posting).rejects.toThrow(/its trigger ~zz fires after ~lockstep_stamp/);
});

describe('an open table is looked at again', () => {
  function later(): { pg: PostgresStore; pass: (ms: number) => void } {
    let ms = 0;
    const clock = { ...systemClock, monotonic: () => systemClock.monotonic() + ms };
    const store = server.store({ knex, clock });
    return { pg: store.pg, pass: (more) => (ms += more) };
  }

  test('a trigger that was added is known ten seconds later', async () => {
    const { spec } = await posts('RETURN NULL;', 'TRIGGER nothing AFTER TRUNCATE ON $T FOR EACH STATEMENT');
    const { pg: watching, pass } = later();
    const table = watching.table<Post, string>(spec.table, { key: 'id' });
    await table.open();
    await knex.raw(
      `CREATE FUNCTION ${spec.table}_slugs() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN
       ${ONE_SLUG.replaceAll('$T', spec.table)} END $f$`,
    );
    await knex.raw(
      `CREATE TRIGGER slugs AFTER INSERT OR UPDATE ON ${spec.table} FOR EACH ROW EXECUTE FUNCTION ${spec.table}_slugs()`,
    );
    pass(10_001);
    for (;;) {
      const [outcome] = await table.write([put('a', `Title ${Math.random()}`)], CALL);
      if (outcome?.kind === 'written' && outcome.value?.slug === outcome.value?.title.toLowerCase()) break;
    }
  });

  test.each([
    ['ALTER TABLE $T RENAME TO $T_old; ALTER TABLE $T_new RENAME TO $T', /lacks the triggers/],
    ['ALTER TABLE $T DISABLE TRIGGER ALL', /the triggers .* are disabled/],
    ['CREATE TABLE $T_child () INHERITS ($T)', /_child inherits from it/],
    ['ALTER TABLE $T SET UNLOGGED', /unlogged/],
  ])('%s: it is warned about by name', async (sql, message) => {
    const { spec } = await posts('RETURN NULL;', 'TRIGGER nothing AFTER TRUNCATE ON $T FOR EACH STATEMENT');
    const named = (text: string): string => text.replaceAll('$T', spec.table);
    const { pg: watching, pass } = later();
    const table = watching.table<Post, string>(spec.table, { key: 'id' });
    await table.open();
    await knex.raw(named('CREATE TABLE $T_new (LIKE $T INCLUDING ALL)'));
    await knex.raw(named(sql));
    const warnings: Error[] = [];
    const listen = (warning: Error): number => warnings.push(warning);
    process.on('warning', listen);
    try {
      while (!warnings.some((warning) => message.test(warning.message))) {
        pass(10_001);
        await table.read(['a'], READ);
      }
    } finally {
      process.off('warning', listen);
    }
    const unseen = warnings.filter(
      (warning) => 'code' in warning && warning.code === 'LOCKSTEP_CHANGES_UNSEEN',
    );
    expect(unseen).toHaveLength(1);
    expect(unseen[0]?.message).toContain(spec.table);
  });

  test('another table that took its name is warned about, even if it is attached', async () => {
    const { spec } = await posts('RETURN NULL;', 'TRIGGER nothing AFTER TRUNCATE ON $T FOR EACH STATEMENT');
    const { pg: watching, pass } = later();
    const table = watching.table<Post, string>(spec.table, { key: 'id' });
    await table.open();
    await knex.raw(`ALTER TABLE ${spec.table} RENAME TO ${spec.table}_old`);
    await knex.raw(`CREATE TABLE ${spec.table} (LIKE ${spec.table}_old INCLUDING ALL)`);
    await pg.attach(pg.table(spec.table, { key: 'id' }));
    const { promise, resolve } = Promise.withResolvers<string>();
    const listen = (warning: Error): void => {
      if (warning.message.includes(spec.table)) resolve(warning.message);
    };
    process.on('warning', listen);
    pass(10_001);
    await table.read(['a'], READ);
    expect(await promise).toMatch(/is another table than the one that was opened/);
    process.off('warning', listen);
  });
});
