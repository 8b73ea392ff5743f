import type { StoreAdapter } from '@lockstep/core';
import type pg from 'pg';
import { COLLECTION, REVIEWS } from '../naming.js';
import type { Product, Review } from '../products.js';
import { LIST_LENGTH, type ProductRow, type ReviewRow, type ShopWindow } from './store.js';

export const VERSION_COLUMN = 'lockstep_version';
export const FIELDS = ['name', 'category', 'price', 'stock', 'description'] as const;
export const PRODUCT_COLUMNS = `id, ${FIELDS.join(', ')}, ${VERSION_COLUMN}`;
const REVIEW_COLUMNS = `id, product, stars, text, ${VERSION_COLUMN}`;

export const REVIEWS_TABLE = `
  CREATE TABLE ${REVIEWS} (id integer PRIMARY KEY, product integer NOT NULL, stars integer NOT NULL, text text NOT NULL);
  CREATE INDEX ON ${REVIEWS} (product)`;

interface Versioned {
  /** An int8, which pg gives as text. */
  readonly [VERSION_COLUMN]: string;
}

export interface Row extends Product, Versioned {}

export function productRow({ [VERSION_COLUMN]: version, ...product }: Row): ProductRow {
  return { product, version: Number(version) };
}

function reviewRow({ [VERSION_COLUMN]: version, ...review }: Review & Versioned): ReviewRow {
  return { review, version: Number(version) };
}

/** Lists and product pages from Postgres. */
export function postgresWindow(pool: pg.Pool, adapter: StoreAdapter<Review, number>): ShopWindow {
  async function reviews(name: string, text: string, values: readonly unknown[]): Promise<ReviewRow[]> {
    const { rows } = await pool.query<Review & Versioned>({ name, text, values: [...values] });
    return rows.map(reviewRow);
  }
  return {
    adapter,
    byValue: true,
    async list(category) {
      const text = `SELECT ${PRODUCT_COLUMNS} FROM ${COLLECTION} WHERE category = $1 ORDER BY price, id LIMIT ${LIST_LENGTH}`;
      const { rows } = await pool.query<Row>({ name: 'shop-list', text, values: [category] });
      return rows.map(productRow);
    },
    reviews: (product) =>
      reviews('shop-reviews', `SELECT ${REVIEW_COLUMNS} FROM ${REVIEWS} WHERE product = $1 ORDER BY id`, [
        product,
      ]),
    review: async (id) =>
      (await reviews('shop-review', `SELECT ${REVIEW_COLUMNS} FROM ${REVIEWS} WHERE id = $1`, [id]))[0],
    async put({ id, product, stars, text }) {
      const [row] = await reviews(
        'shop-review-put',
        `INSERT INTO ${REVIEWS} (id, product, stars, text) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO UPDATE
         SET product = excluded.product, stars = excluded.stars, text = excluded.text RETURNING ${REVIEW_COLUMNS}`,
        [id, product, stars, text],
      );
      if (row === undefined) throw new Error(`review ${id} was not stored`);
      return row;
    },
    remove: async (id) =>
      (
        await reviews(
          'shop-review-remove',
          `DELETE FROM ${REVIEWS} WHERE id = $1 RETURNING ${REVIEW_COLUMNS}`,
          [id],
        )
      )[0],
  };
}
