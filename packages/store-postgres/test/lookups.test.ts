import { createLockstep, InvalidOptionError, type Lockstep } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import type { Knex } from 'knex';
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { PostgresStore } from '../src/index.js';
import { testServer } from './support/database.js';

interface Member {
  readonly id: string;
  readonly email: string | null;
  readonly tenant: number;
  readonly slug: string;
}

const server = testServer();
const UNIQUE = ['email', ['tenant', 'slug']] as const;
const PATIENCE = { timeout: 60_000, interval: 10 } as const;
const [ONE, TWO] = ['11111111-1111-4111-8111-111111111111', '22222222-2222-4222-8222-222222222222'];
let knex: Knex;
let pg: PostgresStore;
const opened: Lockstep[] = [];

beforeAll(async () => {
  ({ knex, pg } = server.store());
  await knex.raw(`CREATE TABLE members (id uuid PRIMARY KEY, "E-Mail" text UNIQUE, tenant int NOT NULL, slug text NOT NULL,
    UNIQUE (tenant, slug))`);
  await pg.attach(bind(pg), { unique: UNIQUE });
});

beforeEach(async () => {
  await knex.raw('DELETE FROM members');
  await knex.raw('DELETE FROM lockstep.outbox');
  await knex.raw('DELETE FROM lockstep.consumer');
});

afterEach(async () => {
  for (const lockstep of opened.splice(0)) await lockstep.close();
});

const bind = (store: PostgresStore) =>
  store.table<Member, string>('members', { key: 'id', columns: { email: 'E-Mail' } });

/** Two processes over one cache. */
function processes() {
  const cache = memoryCache();
  const start = () => {
    const { pg: store } = server.store();
    const lockstep = createLockstep({ cache });
    opened.push(lockstep);
    const members = lockstep.collection({ name: 'members', store: bind(store), unique: UNIQUE });
    return { lockstep, members };
  };
  return [start(), start()] as const;
}

const member = (id: string, email: string | null, slug: string): Member => ({ id, email, tenant: 1, slug });

describe('rows by a unique value', () => {
  test('are found whatever others have put in the place of a pointer', async () => {
    const cache = memoryCache();
    const lockstep = createLockstep({ cache });
    opened.push(lockstep);
    const members = lockstep.collection({ name: 'members', store: bind(server.store().pg), unique: UNIQUE });
    await members.put(ONE, member(ONE, 'a@b', 'one'));
    await members.put(TWO, member(TWO, 'c@d', 'two'));
    const emails = ['a@b', 'c@d'];
    const key = 'wtc:members%by-E-Mail:=a@b';
    await members.getManyBy('email', emails);
    for (const payload of ['{"id":1}', '5', '"no key"', `"${'x'.repeat(3_000)}"`, 'true', '[]']) {
      const token = `poison ${payload}`;
      const outcomes = await cache.execute([
        { kind: 'invalidate', key, version: 0, holeTtlMs: 60_000, holeOnEmpty: true },
        { kind: 'lease', key, token, leaseMs: 60_000, holeTtlMs: 60_000, encoding: 'utf8' },
        { kind: 'fill', key, token, version: 0, payload, ttlMs: 60_000, staleAtMs: 0 },
      ]);
      expect(outcomes[2]).toMatchObject({ outcome: 'filled' });
      expect((await members.getBy('email', 'a@b'))?.slug).toBe('one');
      expect((await members.getManyBy('email', emails)).map((row) => row?.slug)).toEqual(['one', 'two']);
    }
  });

  test('are found after each acknowledged write by what they have, in every process (G2)', async () => {
    const [one, two] = processes();
    const found = async (email: string) =>
      (await Promise.all([one, two].map(({ members }) => members.getBy('email', email)))).map(
        (row) => row?.slug,
      );
    expect(await found('a@b')).toEqual([undefined, undefined]);
    expect(await one.members.put(ONE, member(ONE, 'a@b', 'one'))).toMatchObject({ cache: 'updated' });
    expect(await found('a@b')).toEqual(['one', 'one']);
    expect(await found('a@b')).toEqual(['one', 'one']);
    await two.members.patch(ONE, { email: 'c@d' });
    expect(await found('a@b')).toEqual([undefined, undefined]);
    expect(await found('c@d')).toEqual(['one', 'one']);
    await one.members.putMany([
      [ONE, member(ONE, null, 'one')],
      [TWO, member(TWO, 'a@b', 'two')],
    ]);
    expect(await found('a@b')).toEqual(['two', 'two']);
    expect(await found('c@d')).toEqual([undefined, undefined]);
    await two.members.update(TWO, (row) => row && { ...row, email: 'c@d' });
    expect(await found('c@d')).toEqual(['two', 'two']);
    await one.members.write(TWO, async (trx) => {
      await trx.raw(`UPDATE members SET "E-Mail" = 'e@f' WHERE id = ?`, [TWO]);
    });
    expect(await found('e@f')).toEqual(['two', 'two']);
    await two.members.delete(TWO);
    expect(await found('e@f')).toEqual([undefined, undefined]);
    // Its writers have dealt with all of it: nothing is left to a relay.
    const pending = async () => (await pg.feed.status(['public.members'], 'wtc')).pending;
    await vi.waitFor(async () => expect(await pending()).toBe(0), PATIENCE);
  });

  test('swap it in a transaction', async () => {
    const [one, two] = processes();
    await one.members.put(ONE, member(ONE, 'a@b', 'one'));
    await one.members.put(TWO, member(TWO, 'c@d', 'two'));
    const found = async () =>
      (await two.members.getManyBy('email', ['a@b', 'c@d', 'no'])).map((row) => row?.slug);
    expect(await found()).toEqual(['one', 'two', undefined]);
    expect(await found()).toEqual(['one', 'two', undefined]);
    await one.lockstep.transaction(async (tx) => {
      await one.members.patch(TWO, { email: null }, { tx });
      await one.members.patch(ONE, { email: 'c@d' }, { tx });
      expect((await one.members.getBy('email', 'c@d', { tx }))?.slug).toBe('one');
      await one.members.patch(TWO, { email: 'a@b' }, { tx });
    });
    expect(await found()).toEqual(['two', 'one', undefined]);
  });

  test('in any form of the value, and by all columns of an index', async () => {
    const [{ members }] = processes();
    await members.put(ONE, { ...member(ONE, 'x', 'a:b%'), tenant: 7 });
    for (const tenant of [7, '7', 7n] as number[]) {
      expect(await members.getBy(['tenant', 'slug'], { tenant, slug: 'a:b%' })).toMatchObject({ id: ONE });
    }
    await expect(members.getBy(['tenant', 'slug'], { tenant: 'x' as never, slug: 'a' })).rejects.toThrow(
      /column "tenant"/,
    );
  });

  test('follow what other programs write within the relay’s lag (G6), TRUNCATE included', async () => {
    const [one, two] = processes();
    await one.members.put(ONE, member(ONE, 'a@b', 'one'));
    const relay = two.lockstep.startRelay();
    const found = async (email: string) => (await one.members.getBy('email', email))?.slug;
    expect(await found('a@b')).toBe('one');
    expect(await found('new@x')).toBeUndefined();
    await knex.raw(`UPDATE members SET "E-Mail" = 'new@x'`);
    await knex.raw(`INSERT INTO members VALUES (?, 'a@b', 1, 'two')`, [TWO]);
    await vi.waitFor(
      async () => expect([await found('a@b'), await found('new@x')]).toEqual(['two', 'one']),
      PATIENCE,
    );
    await knex.raw('TRUNCATE members');
    await vi.waitFor(
      async () => expect([await found('a@b'), await found('new@x')]).toEqual([undefined, undefined]),
      PATIENCE,
    );
    await relay.stop();
  });

  test('attach does not leave out what a recorded collection looks rows up by, before its record is removed', async () => {
    const [{ members }] = processes();
    await members.getBy('email', 'a@b');
    const refused = await pg
      .attach(bind(pg), { unique: [['tenant', 'slug']] })
      .catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(InvalidOptionError);
    const message = String(refused);
    expect(message).toContain('public.members: the cache of prefix "wtc" looks rows up by ["E-Mail"]');
    await pg.attach(bind(pg), { unique: ['email', ['slug', 'tenant']] });
    await members.put(ONE, member(ONE, 'a@b', 'one'));
    expect(await members.getBy('email', 'a@b')).toMatchObject({ id: ONE });
    for (const lockstep of opened.splice(0)) await lockstep.close();
    await knex.raw('UPDATE lockstep.consumer SET ended = false');
    await knex.raw(/UPDATE .*/.exec(message)?.[0] ?? '');
    await pg.attach(bind(pg), { unique: [['tenant', 'slug']] });
    await pg.attach(bind(pg), { unique: UNIQUE });
  });

  test('stay right where a table is attached anew without what a running process looks up by', async () => {
    const [one, two] = processes();
    await one.members.put(ONE, member(ONE, 'a@b', 'one'));
    const relay = two.lockstep.startRelay();
    const found = async (email: string) => (await one.members.getBy('email', email))?.slug;
    try {
      await pg.detach(bind(pg));
      await pg.attach(bind(pg));
      const isCached = async () => (await one.members.getVersioned(ONE)).from === 'cache';
      await vi.waitFor(async () => expect(await isCached()).toBe(true), PATIENCE);
      // That there is none is cached, which the write can't end: until then it has nothing to leave to the relay.
      const hits = vi.fn();
      one.lockstep.events.on('hit', ({ collection }) => collection.includes('%by-') && hits());
      await vi.waitFor(async () => {
        expect(await found('new@x')).toBeUndefined();
        expect(hits).toHaveBeenCalled();
      }, PATIENCE);
      expect(await one.members.patch(ONE, { email: 'new@x' })).toMatchObject({ cache: 'deferred' });
      await vi.waitFor(async () => expect(await found('new@x')).toBe('one'), PATIENCE);
      expect(await found('foreign@x')).toBeUndefined();
      await knex.raw(`UPDATE members SET "E-Mail" = 'foreign@x'`);
      await vi.waitFor(async () => expect(await found('foreign@x')).toBe('one'), PATIENCE);
    } finally {
      await relay.stop();
      await pg.attach(bind(pg), { unique: UNIQUE });
    }
  });

  test('are refused, with what to run, where attach does not know the index', async () => {
    const [{ lockstep }] = processes();
    await knex.raw('CREATE TABLE IF NOT EXISTS plain (id int PRIMARY KEY, name text UNIQUE)');
    const plain = pg.table<{ id: number; name: string }, number>('plain', { key: 'id' });
    await pg.attach(plain);
    const rows = lockstep.collection({ name: 'plain', store: plain, unique: ['name'] });
    await expect(rows.get(1)).rejects.toThrow(/pg\.attach\(table, { unique: \[\['name'\]\] }\)/);
    await pg.attach(plain, { unique: ['name'] });
    expect(await rows.getBy('name', 'x')).toBeUndefined();
  });
});
