import { describe, expect, test } from 'vitest';
import type { Change } from '../../src/contracts/feed.js';
import { invalidations } from '../../src/feed/invalidations.js';
import { memoryDatabase, memoryStore } from '../../src/memory/index.js';

interface User {
  readonly email: string | null;
  readonly name?: string;
}

async function usersStore() {
  const database = memoryDatabase({ feedGraceMs: 0 });
  const store = memoryStore<User>({ name: 'users', database, unique: ['email'] });
  await store.declared?.check({ unique: [['email']] });
  const call = { timeoutMs: 1_000 };
  const put = async (key: string, value: User) =>
    (await store.write([{ kind: 'put', key, value, above: 0 }], call))[0];
  /** The changes that nobody has taken. */
  const pending = async (): Promise<readonly Change[]> => {
    const ending = new AbortController();
    let taken: readonly Change[] = [];
    const handler = async (changes: readonly Change[]): Promise<void> => {
      taken = changes;
      ending.abort();
    };
    await store.feed.consume(handler, { signal: ending.signal, sources: ['users'] });
    return taken;
  };
  return { database, store, call, put, pending };
}

describe('texts of declared columns', () => {
  test('come with the outcome of a write: what the row had and gets', async () => {
    const { call, put, store } = await usersStore();
    expect(await put('1', { email: 'a@b' })).toMatchObject({ texts: [{ email: '=sa@b' }] });
    expect(await put('1', { email: 'c@d' })).toMatchObject({
      texts: [{ email: '=sa@b' }, { email: '=sc@d' }],
    });
    const [deleted] = await store.write([{ kind: 'delete', key: '1', above: 0 }], call);
    expect(deleted).toMatchObject({ texts: [{ email: '=sc@d' }] });
  });

  test('of changes that nobody has taken add up, and no writer acknowledges what it did not know', async () => {
    const { pending, put, store } = await usersStore();
    await store.foreignWrite('1', { email: 'a@b' });
    await store.foreignWrite('1', { email: 'c@d' });
    const written = await put('1', { email: null });
    if (written?.kind !== 'written') throw new Error('it was not written');
    store.feed.acknowledge([{ source: 'users', key: '1', version: written.version }]);
    const [change] = await pending();
    expect(change?.texts).toEqual([{ email: '=sa@b' }, { email: '=sc@d' }, { email: null }]);
  });

  test('come with the changes of a transaction, without what nobody else has seen', async () => {
    const { call, database, put } = await usersStore();
    await put('1', { email: 'a@b' });
    await database.transactions.transaction(
      async (tx) => {
        const client = tx.client as { set(table: string, key: string, value: unknown): Promise<void> };
        await client.set('users', '1', { email: 'between' });
        await client.set('users', '1', { email: 'c@d' });
        const [change] = await tx.changes();
        expect(change?.texts).toEqual([{ email: '=sa@b' }, { email: '=sc@d' }]);
      },
      { timeoutMs: call.timeoutMs },
    );
  });
});

describe('invalidations of a lookup', () => {
  const users = {
    name: 'users',
    source: 'users',
    keyPrefix: 'wtc:users:',
    holeTtlMs: 1_000,
    holeOnEmpty: true,
  };
  const byEmail = { ...users, name: 'users%by-email', keyPrefix: 'wtc:users%by-email:', holeOnEmpty: false };

  test('name what the row had and gets, whatever the version', () => {
    const texts = [{ email: '=a@b' }, { email: '=c@d' }, { email: '=a@b' }, { email: null }];
    const commands = invalidations(
      [{ key: '1', version: 8, texts }],
      [users, { ...byEmail, lookup: ['email'] }],
    );
    expect(commands.map(({ key, version }) => [key, version])).toEqual([
      ['wtc:users:1', 8],
      ['wtc:users%by-email:=a@b', 0],
      ['wtc:users%by-email:=c@d', 0],
    ]);
  });
});
