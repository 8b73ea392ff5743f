import { type Collection, createLockstep, type WriteResult } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import type { Knex } from 'knex';
import { expectTypeOf } from 'vitest';
import { postgresStore } from '../src/index.js';

interface User {
  readonly id: number;
  readonly email: string;
}

/** Never called: what counts is what the compiler makes of it. */
export async function types(knex: Knex): Promise<void> {
  const lockstep = createLockstep({ cache: memoryCache() });
  const postgres = postgresStore({ knex });

  // A key that is the row's `id` has its type.
  const users = lockstep.collection({ name: 'users', store: postgres.table<User>('users', { key: 'id' }) });
  expectTypeOf(users).toEqualTypeOf<Collection<User, number, Knex.Transaction>>();
  users.get(5);
  // @ts-expect-error ids are numbers here
  users.get('5');
  expectTypeOf(users.create({ email: 'a@example.org' })).resolves.toEqualTypeOf<WriteResult<User>>();

  // Others are named.
  const byEmail = postgres.table<User, string>('users', { key: 'email' });
  expectTypeOf(lockstep.collection({ name: 'e', store: byEmail }).get)
    .parameter(0)
    .toEqualTypeOf<string>();
  const byPair = postgres.table<User, { id: number; email: string }>('users', { key: ['id', 'email'] });
  const pairs = lockstep.collection({ name: 'pairs', store: byPair });
  pairs.get({ id: 1, email: 'a' });
  // @ts-expect-error a part is missing
  pairs.get({ id: 1 });

  // The store, or a table of it, gives the transaction's handle.
  for (const on of [postgres, byEmail]) {
    await lockstep.transaction(
      async (tx) => {
        expectTypeOf(tx.client).toEqualTypeOf<Knex.Transaction>();
        await users.create({ email: 'a@example.org' }, { tx });
      },
      { on },
    );
  }
  await users.write(5, async (trx) => expectTypeOf(trx).toEqualTypeOf<Knex.Transaction>());
}
