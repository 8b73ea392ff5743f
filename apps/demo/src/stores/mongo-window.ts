import { type Collection, Long } from 'mongodb';
import type { Product, Review } from '../products.js';
import { LIST_LENGTH, type ProductRow, type ReviewRow, type ShopWindow } from './store.js';

export const VERSION_FIELD = '_lockstep';

interface Versioned {
  readonly _id: number;
  readonly [VERSION_FIELD]?: Long | number;
}

/** A product as a document: its `_id` is its id once more. */
export interface ProductDocument extends Product, Versioned {}

/** A review as a document. */
export interface ReviewDocument extends Review, Versioned {}

/** The stamp of a hand-written shop, with a version of its own making for the checker's sake. */
export const STAMP = {
  [VERSION_FIELD]: {
    $max: [
      { $add: [{ $ifNull: [`$${VERSION_FIELD}`, Long.ZERO] }, Long.fromNumber(2)] },
      { $multiply: [{ $toLong: '$$NOW' }, Long.fromNumber(1_000)] },
    ],
  },
};

export function productRow(document: ProductDocument): ProductRow {
  const { id, name, category, price, stock, description } = document;
  return { product: { id, name, category, price, stock, description }, version: versionOf(document) };
}

export function versionOf(document: Versioned): number {
  return Number(document[VERSION_FIELD] ?? 0);
}

export function reviewOf({ id, product, stars, text }: Review): Review {
  return { id, product, stars, text };
}

/** Lists and product pages from MongoDB. */
export function mongoWindow(
  products: Collection<ProductDocument>,
  reviews: Collection<ReviewDocument>,
  adapter: ShopWindow['adapter'],
): ShopWindow {
  const rowOf = (document: ReviewDocument): ReviewRow => ({
    review: reviewOf(document),
    version: versionOf(document),
  });
  return {
    adapter,
    // Each write of a collection with declared tags is a transaction.
    byValue: false,
    async list(category) {
      const found = await products.find({ category }).sort({ price: 1, id: 1 }).limit(LIST_LENGTH).toArray();
      return found.map(productRow);
    },
    async reviews(product) {
      return (await reviews.find({ product }).sort({ _id: 1 }).toArray()).map(rowOf);
    },
    async review(id) {
      const found = await reviews.findOne({ _id: id });
      return found === null ? undefined : rowOf(found);
    },
    async put(review) {
      const fields = Object.entries(review).map(([field, value]) => [field, { $literal: value }]);
      const change = [{ $set: { ...Object.fromEntries(fields), ...STAMP } }];
      const options = { returnDocument: 'after', upsert: true } as const;
      const document = await reviews.findOneAndUpdate({ _id: review.id }, change, options);
      if (document === null) throw new Error(`review ${review.id} was not stored`);
      return rowOf(document);
    },
    async remove(id) {
      const document = await reviews.findOneAndDelete({ _id: id });
      return document === null ? undefined : rowOf(document);
    },
  };
}
