import { storeConformance } from '@lockstep/conformance';
import type { Knex } from 'knex';
import { describe, test } from 'vitest';
import { testServer } from './support/database.js';

const server = testServer();

interface Product {
  readonly name: string;
  readonly stock: number;
}

/** The tables that the kit runs on: what differs is the key. */
const TABLES = [
  {
    title: 'one integer key',
    table: 'products',
    key: ['id'],
    ddl: 'CREATE TABLE products (id int PRIMARY KEY, name text NOT NULL, stock int NOT NULL CHECK (stock >= 0))',
    id: (n: number): unknown => n,
    badIds: ['', 'x', 1.5, null, undefined, {}, [], 2 ** 40, '\ud800'],
    sameRow: [
      [7, '007'],
      ['+7', 7n],
    ],
    prepared: true,
  },
  {
    title: 'declared columns, whose values each change tells',
    table: 'declared',
    key: ['id'],
    ddl: 'CREATE TABLE declared (id int PRIMARY KEY, name text NOT NULL, stock int NOT NULL CHECK (stock >= 0))',
    tags: ['name', ['name', 'stock']],
    id: (n: number): unknown => n,
    badIds: [''],
    sameRow: [[7, '007']],
    prepared: true,
  },
  {
    title: 'a composite key, partitioned, mapped and mixed-case names, no prepared statements',
    table: 'Stock Items',
    key: ['tenant', 'sku'],
    ddl: `CREATE SCHEMA "Shop %";
      CREATE TABLE "Shop %"."Stock Items" ("Tenant" uuid, sku varchar(40), "Full Name" text NOT NULL,
        stock int NOT NULL CHECK (stock >= 0), PRIMARY KEY ("Tenant", sku)) PARTITION BY HASH (sku);
      CREATE TABLE "Shop %".items_a PARTITION OF "Shop %"."Stock Items" FOR VALUES WITH (MODULUS 2, REMAINDER 0);
      CREATE TABLE "Shop %".items_b PARTITION OF "Shop %"."Stock Items" FOR VALUES WITH (MODULUS 2, REMAINDER 1)`,
    schema: 'Shop %',
    columns: { tenant: 'Tenant', name: 'Full Name' },
    id: (n: number): unknown => ({ tenant: '6C3F2E1A-0000-4000-8000-00000000000B', sku: `a:${n}%3A"\\'` }),
    badIds: ['', 5, null, undefined, {}, { tenant: 'x', sku: 'y' }, ['6c3f2e1a-0000-4000-8000-00000000000b']],
    sameRow: [
      [
        { tenant: '6C3F2E1A-0000-4000-8000-00000000000B', sku: 's' },
        ['6c3f2e1a00004000800000000000000b', 's'],
      ],
    ],
    prepared: false,
  },
] as const;

for (const each of TABLES) {
  let ready: Promise<Knex> | undefined;
  const schema = 'schema' in each ? each.schema : 'public';
  const columns: Readonly<Record<string, string>> = 'columns' in each ? each.columns : {};

  /** The table, made once; the kit's ids are always new. */
  const setUp = (): Promise<Knex> => {
    ready ??= (async () => {
      const knex = server.knex();
      await knex.raw(each.ddl);
      const { pg } = server.store({ knex });
      const table = pg.table<Product, unknown>(each.table, { key: each.key, schema, columns });
      await pg.attach(table, 'tags' in each ? { tags: each.tags } : {});
      return knex;
    })();
    return ready;
  };

  const foreign = async (knex: Knex, id: unknown, value: Product | null): Promise<void> => {
    const column = (property: string): string => columns[property] ?? property;
    const part = (index: number, property: string): unknown =>
      typeof id === 'object' ? (id as Record<string, unknown>)[property] : [id][index];
    const where = Object.fromEntries(each.key.map((property, i) => [column(property), part(i, property)]));
    const rows = knex(each.table).withSchema(schema);
    if (value === null) await rows.where(where).delete();
    else {
      const row = { [column('name')]: value.name, stock: value.stock };
      await rows
        .insert({ ...where, ...row })
        .onConflict(Object.keys(where))
        .merge();
    }
  };

  storeConformance<Product, unknown>({
    describe,
    test,
    name: `the Postgres store conforms: ${each.title}`,
    deadlineMs: 20_000,
    hooks: ['second', 'refusedValue', 'badIds', 'sameRow', 'foreignWrite', 'writeInTransaction'],
    async create() {
      const knex = await setUp();
      const { pg } = server.store({ knex, prepared: each.prepared, feed: { listen: true } });
      const bind = (): ReturnType<typeof pg.table<Product, unknown>> =>
        pg.table<Product, unknown>(each.table, { key: each.key, schema, columns });
      const [store, second] = [bind(), bind()];
      await Promise.all([store.open(), second.open()]);
      return {
        store,
        second,
        id: each.id,
        value: (_, n) => ({ name: `product ${n} "'\\ ü`, stock: n }),
        counter: 'stock',
        refusedValue: () => ({ name: 'refused', stock: -1 }),
        badIds: each.badIds,
        sameRow: each.sameRow,
        foreignWrite: (id, value) => foreign(knex, id, value),
        writeInTransaction: (client, id, value) => foreign(client as Knex.Transaction, id, value),
        dispose: () => pg.close(),
      };
    },
  });
}
