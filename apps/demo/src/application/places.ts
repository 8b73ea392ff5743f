import { UNKNOWN_GROUP } from '@lockstep/torture';
import { CATEGORIES, type Product, type Review } from '../products.js';

/** Reviews of a product are a list of their own, with a number behind those of the categories. */
const FIRST_PAGE = 1_000;

/** Where the checker of lists has a row: its list, and its place there. */
export interface Place {
  readonly group: number;
  readonly rank: number;
}

/** A category has its products by price. */
export function placeOf({ category, price }: Pick<Product, 'category' | 'price'>): Place {
  const group = groupOf(category);
  return { group, rank: price };
}

export function groupOf(category: string): number {
  const group = CATEGORIES.indexOf(category);
  return group < 0 ? UNKNOWN_GROUP : group;
}

/** A product's page has all of its reviews. */
export function placeOfReview({ product }: Pick<Review, 'product'>): Place {
  return { group: pageOf(product), rank: 0 };
}

export function pageOf(product: number): number {
  return FIRST_PAGE + product;
}

/** Reviews are numbered behind the products. */
export function reviewIndex(products: number, id: number): number {
  return products + id - 1;
}
