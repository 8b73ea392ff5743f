import { postgresStore } from '@lockstep/store-postgres';
import knexPackage from 'knex';
import type { FinalRow } from '../history.js';
import { type CrashRow, TABLE } from '../rows.js';
import type { CrashStore } from './store.js';

const POOL = { min: 0, max: 8 };
const BOUND_MS = 10_000;

interface Stamped extends CrashRow {
  /** An int8, which pg gives as text. */
  readonly lockstep_version: string;
}

export function openPostgres(url: string): CrashStore {
  const connection = { connectionString: url, query_timeout: BOUND_MS * 2 };
  const knex = knexPackage({ client: 'pg', connection, pool: POOL });
  const pg = postgresStore({ knex });
  const adapter = pg.table<CrashRow, string>(TABLE, { key: '_id' });

  async function rows(): Promise<Map<string, FinalRow>> {
    const found = await knex<Stamped>(TABLE).select();
    return new Map(
      found.map(({ _id, counter, lockstep_version, token }) => [
        _id,
        { token, counter, version: Number(lockstep_version) },
      ]),
    );
  }

  // The trigger stamps it like every write, so that the statement itself says its version.
  async function foreignUpdate({ _id, after, counter, token }: CrashRow): Promise<number | undefined> {
    const changed = await knex<Stamped>(TABLE)
      .where({ _id })
      .update({ token, after, counter })
      .returning('lockstep_version')
      .timeout(BOUND_MS);
    return changed[0] === undefined ? undefined : Number(changed[0].lockstep_version);
  }

  return {
    adapter,
    async prepare(seeds) {
      await knex.schema.createTable(TABLE, (columns) => {
        columns.text('_id').primary();
        columns.text('token').notNullable();
        columns.text('after').notNullable();
        columns.integer('counter').notNullable();
      });
      await knex(TABLE).insert([...seeds]);
      await pg.attach(adapter);
      return await rows();
    },
    foreignUpdate,
    foreignPlainUpdate: foreignUpdate,
    rows,
    pending: async () => (await pg.feed.status([adapter.source])).pending,
    async close() {
      await pg.close();
      await knex.destroy();
    },
  };
}
