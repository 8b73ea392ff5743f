import { postgresStore } from '@lockstep/store-postgres';
import knexPackage, { type Knex } from 'knex';
import { TABLE, type ViewRow } from '../rows.js';
import { type RecordedChange, statesOf } from './states.js';
import type { ViewsStore } from './store.js';

const POOL = { min: 0, max: 10 };
const BOUND_MS = 10_000;

/** Records every change of a row, in the writer's own transaction and under the row's lock: per row the order of commits. */
const RECORDED = `
CREATE TABLE recorded (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text NOT NULL, "row" jsonb, at timestamptz NOT NULL
);
CREATE FUNCTION record_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP <> 'INSERT' AND (TG_OP = 'DELETE' OR OLD._id <> NEW._id) THEN
    INSERT INTO recorded (key, "row", at) VALUES (OLD._id, NULL, clock_timestamp());
  END IF;
  IF TG_OP <> 'DELETE' THEN
    INSERT INTO recorded (key, "row", at) VALUES (NEW._id, to_jsonb(NEW), clock_timestamp());
  END IF;
  RETURN NULL;
END $$;
CREATE FUNCTION record_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO recorded (key, at) SELECT _id, clock_timestamp() FROM ${TABLE};
  RETURN NULL;
END $$;
CREATE TRIGGER zz_record AFTER INSERT OR UPDATE OR DELETE ON ${TABLE} FOR EACH ROW EXECUTE FUNCTION record_change();
CREATE TRIGGER a_record BEFORE TRUNCATE ON ${TABLE} FOR EACH STATEMENT EXECUTE FUNCTION record_truncate()`;

type Recorded = ViewRow & { readonly lockstep_version: number };

export function openPostgres(url: string): ViewsStore {
  const connection = { connectionString: url, query_timeout: BOUND_MS * 2 };
  const knex = knexPackage({ client: 'pg', connection, pool: POOL });
  const pg = postgresStore({ knex });
  const adapter = pg.table<ViewRow, string>(TABLE, { key: '_id' });
  const table = (client: unknown = knex) => (client as Knex)<ViewRow>(TABLE);

  return {
    adapter,
    async prepare(rows) {
      await knex.schema.createTable(TABLE, (columns) => {
        columns.text('_id').primary();
        columns.text('category');
        columns.integer('shelf').notNullable();
        columns.text('ref').notNullable();
        columns.text('token').notNullable();
      });
      await knex.raw(RECORDED);
      await pg.attach(adapter, { tags: ['category', ['category', 'shelf']] });
      await table().insert([...rows]);
    },
    async find(query, client) {
      const found = table(client).select();
      if (query.view === 'all') return await found;
      const { category } = query;
      return await found.where(query.view === 'shelf' ? { category, shelf: query.shelf } : { category });
    },
    one: (key, client) => table(client).where({ _id: key }).first(),
    foreign: {
      put: (row) => table().insert(row).onConflict('_id').merge().timeout(BOUND_MS),
      update: ({ _id, ...row }) => table().where({ _id }).update(row).timeout(BOUND_MS),
      remove: (_id) => table().where({ _id }).delete().timeout(BOUND_MS),
      move: (from, to, mark) =>
        table()
          .where({ category: from })
          .update({ category: to, token: knex.raw('token || ?', [mark]) })
          .timeout(BOUND_MS),
      removeAll: () => knex.raw('TRUNCATE ??', [TABLE]).timeout(BOUND_MS),
    },
    async states() {
      const found = await knex<{ number: string; key: string; row: Recorded | null; at: Date }>('recorded')
        .select()
        .orderBy('number');
      return statesOf(
        found.map(
          ({ at, key, row }): RecordedChange => ({
            key,
            row,
            version: row?.lockstep_version ?? 0,
            atMs: at.getTime(),
          }),
        ),
      );
    },
    pending: async () => (await pg.feed.status([adapter.source])).pending,
    async close() {
      await pg.close();
      await knex.destroy();
    },
  };
}
