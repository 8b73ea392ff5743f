import { type PostgresStore, type PostgresTable, postgresStore } from '@lockstep/store-postgres';
import knex, { type Knex } from 'knex';
import pg from 'pg';
import { COLLECTION, REVIEWS } from '../naming.js';
import type { Product, ProductChange, Review } from '../products.js';
import {
  FIELDS,
  PRODUCT_COLUMNS,
  postgresWindow,
  productRow,
  REVIEWS_TABLE,
  type Row,
  VERSION_COLUMN,
} from './postgres-window.js';
import type { ForeignWrite, PlainStore, ProductRow, ShopStore, ShopWindow, StoreNames } from './store.js';

const SEED_BATCH = 1_000;
const POOL = { min: 0, max: 10 };

const TABLE = `
  CREATE TABLE ${COLLECTION} (
    id integer PRIMARY KEY,
    name text NOT NULL,
    category text NOT NULL,
    price integer NOT NULL CHECK (price >= 0),
    stock integer NOT NULL,
    description text NOT NULL
  );
  CREATE INDEX ON ${COLLECTION} (category, price, id)`;

/** The shop on Postgres. */
export class PostgresShopStore implements ShopStore {
  readonly names: StoreNames = {
    table: COLLECTION,
    keyColumn: 'id',
    versionColumn: VERSION_COLUMN,
    keyStart: '',
  };
  readonly adapter: PostgresTable<Product, number>;
  readonly window: ShopWindow;
  readonly plain: PlainStore;
  readonly #reviews: PostgresTable<Review, number>;
  readonly #knex: Knex;
  readonly #pool: pg.Pool;
  readonly #store: PostgresStore;

  constructor(url: string) {
    this.#knex = knex({ client: 'pg', connection: url, pool: POOL });
    // A connection that breaks while it idles is replaced; without a listener it would end the process.
    this.#pool = new pg.Pool({ connectionString: url, max: POOL.max, connectionTimeoutMillis: 10_000 });
    this.#pool.on('error', () => undefined);
    this.#store = postgresStore({ knex: this.#knex });
    this.adapter = this.#store.table<Product, number>(COLLECTION, { key: 'id' });
    this.#reviews = this.#store.table<Review, number>(REVIEWS, { key: 'id' });
    this.window = postgresWindow(this.#pool, this.#reviews);
    this.plain = plainStore(this.#pool);
  }

  async prepare(products: readonly Product[]): Promise<void> {
    await this.#pool.query(`DROP TABLE IF EXISTS ${COLLECTION}, ${REVIEWS}`);
    await this.#pool.query(TABLE);
    await this.#pool.query(REVIEWS_TABLE);
    for (let from = 0; from < products.length; from += SEED_BATCH) {
      const batch = products.slice(from, from + SEED_BATCH);
      await this.#pool.query(
        `INSERT INTO ${COLLECTION} (id, ${FIELDS.join(', ')})
         SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::int[], $5::int[], $6::text[])`,
        [
          batch.map((product) => product.id),
          ...FIELDS.map((field) => batch.map((product) => product[field])),
        ],
      );
    }
    await this.#store.attach(this.adapter, { tags: ['category'] });
    await this.#store.attach(this.#reviews, { tags: ['product'] });
    await this.#pool.query(`ANALYZE ${COLLECTION}`);
  }

  productOf(value: Product): Product {
    return value;
  }

  async foreignUpdate(id: number, change: ProductChange): Promise<ForeignWrite | undefined> {
    // The trigger stamps it like every write, so that the statement itself says its version.
    const row = await this.plain.update(id, change);
    return row === undefined ? undefined : { version: async () => row.version };
  }

  async updateIn(tx: unknown, id: number, change: ProductChange): Promise<boolean> {
    // The adapter's transactions are knex's.
    const changed = await (tx as Knex.Transaction)(COLLECTION).where({ id }).update(change);
    return changed > 0;
  }

  async serverVersion(): Promise<string> {
    const { rows } = await this.#pool.query<{ server_version: string }>('SHOW server_version');
    return `PostgreSQL ${rows[0]?.server_version ?? 'of unknown version'}`;
  }

  feedStatus(): ReturnType<ShopStore['feedStatus']> {
    return this.#store.feed.status([this.adapter.source, this.#reviews.source]);
  }

  async close(): Promise<void> {
    await this.#store.close();
    await this.#knex.destroy();
    await this.#pool.end();
  }
}

function plainStore(pool: pg.Pool): PlainStore {
  async function one(
    name: string,
    text: string,
    values: readonly unknown[],
  ): Promise<ProductRow | undefined> {
    const { rows } = await pool.query<Row>({ name, text, values: [...values] });
    return rows[0] === undefined ? undefined : productRow(rows[0]);
  }

  return {
    async read(ids) {
      const text = `SELECT ${PRODUCT_COLUMNS} FROM ${COLLECTION} WHERE id = ANY($1::int[])`;
      const { rows } = await pool.query<Row>({ name: 'shop-read', text, values: [ids] });
      const found = new Map(rows.map((row) => [row.id, productRow(row)]));
      return ids.map((id) => found.get(id));
    },
    async upsert(product) {
      const row = await one(
        'shop-upsert',
        `INSERT INTO ${COLLECTION} (id, ${FIELDS.join(', ')}) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (id) DO UPDATE SET ${FIELDS.map((field) => `${field} = excluded.${field}`).join(', ')}
         RETURNING ${PRODUCT_COLUMNS}`,
        [product.id, ...FIELDS.map((field) => product[field])],
      );
      if (row === undefined) throw new Error(`product ${product.id} was not stored`);
      return row;
    },
    update(id, change) {
      const fields = FIELDS.filter((field) => change[field] !== undefined);
      const sets = fields.map((field, position) => `${field} = $${position + 2}`);
      return one(
        `shop-update-${fields.join('-')}`,
        `UPDATE ${COLLECTION} SET ${sets.join(', ')} WHERE id = $1 RETURNING ${PRODUCT_COLUMNS}`,
        [id, ...fields.map((field: keyof ProductChange) => change[field])],
      );
    },
    addStock: (id, by) =>
      one(
        'shop-stock',
        `UPDATE ${COLLECTION} SET stock = stock + $2 WHERE id = $1 RETURNING ${PRODUCT_COLUMNS}`,
        [id, by],
      ),
    async remove(id) {
      const row = await one(
        'shop-remove',
        `DELETE FROM ${COLLECTION} WHERE id = $1 RETURNING ${PRODUCT_COLUMNS}`,
        [id],
      );
      return row?.version;
    },
  };
}
