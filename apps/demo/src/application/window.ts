import {
  type FactBuffer,
  type FreshnessChecker,
  type Lacking,
  type ListChecker,
  type ListRead,
  type ListTicket,
  NO_GROUP,
  systemMs,
} from '@lockstep/torture';
import type { ProductPage, ReviewAnswer, ShopEngine } from '../engines/engine.js';
import { fateOf, type Meter } from '../measure.js';
import type { Review } from '../products.js';
import { LIST_LENGTH, type ProductRow, type ReviewRow, type ShopStore } from '../stores/store.js';
import { factOf } from './catalogue.js';
import { groupOf, pageOf, placeOf, placeOfReview, reviewIndex } from './places.js';

export interface WindowOptions {
  readonly engine: ShopEngine;
  readonly checker: FreshnessChecker;
  readonly lists: ListChecker;
  readonly facts: FactBuffer;
  readonly meter: Meter;
  readonly products: number;
}

/** Every read of a list or a product page of this process, and every review that it writes: counted, and judged. */
export class Window {
  readonly #options: WindowOptions;

  constructor(options: WindowOptions) {
    this.#options = options;
  }

  async list(category: string): Promise<readonly ProductRow[]> {
    const { engine, lists, products } = this.#options;
    const ticket = lists.begin(systemMs());
    const rows = await this.#read(ticket, () => engine.list(category));
    const shown = rows.map(({ product, version }) => {
      return { index: product.id - 1, version, rank: placeOf(product).rank };
    });
    const last = shown[LIST_LENGTH - 1];
    const members = shown.filter(({ index }) => index < products);
    end(ticket, { group: groupOf(category), last, members });
    return rows;
  }

  async page(id: number): Promise<ProductPage> {
    const { checker, engine, lists, products } = this.#options;
    const startMs = systemMs();
    const judged = id <= products;
    const seen = judged ? checker.begin(id - 1, startMs) : undefined;
    const ticket = lists.begin(startMs);
    try {
      const page = await this.#read(ticket, () => engine.page(id));
      const { product, reviews } = page;
      if (judged) checker.end(seen, id - 1, product?.version ?? 0, product === null, systemMs());
      const members = reviews.map(({ review, version }) => {
        return { index: reviewIndex(products, review.id), version, rank: 0 };
      });
      end(ticket, { group: pageOf(id), last: undefined, members });
      return page;
    } catch (error) {
      checker.cancel(seen);
      throw error;
    }
  }

  async putReview(review: Review): Promise<void> {
    await this.#write(review.id, () => this.#options.engine.putReview(review));
  }

  async removeReview(id: number): Promise<void> {
    await this.#write(id, () => this.#options.engine.removeReview(id));
  }

  async #read<T>(ticket: ListTicket | undefined, body: () => Promise<T>): Promise<T> {
    const { meter } = this.#options;
    meter.count('viewReads');
    try {
      return await body();
    } catch (error) {
      if (ticket !== undefined) ticket.read = 'failed';
      meter.count('failedReads');
      meter.failure('view', error);
      throw error;
    }
  }

  async #write(id: number, body: () => Promise<ReviewAnswer>): Promise<void> {
    const { facts, lists, meter, products } = this.#options;
    meter.count('reviewWrites');
    try {
      const { cache, review, version } = await body();
      if (version === 0) return;
      const kind = factOf(cache, review === null);
      const place = review === null ? { group: NO_GROUP, rank: 0 } : placeOfReview(review);
      const index = reviewIndex(products, id);
      const atMs = systemMs();
      lists.fact({ kind, index, version, atMs, ...place });
      facts.add(kind, index, version, atMs, place);
    } catch (error) {
      meter.count('failedWrites');
      if (fateOf(error) === 'unknown') meter.count('unknownWrites');
      meter.failure('review', error);
      throw error;
    }
  }
}

/** Tells whether a row is still as a list should have shown it. */
export async function isStillSo(
  { plain, window }: ShopStore,
  products: number,
  { group, index, rank, version }: Lacking,
): Promise<boolean> {
  if (index < products) {
    const [row] = await plain.read([index + 1]);
    if (row?.version !== version) return false;
    const place = placeOf(row.product);
    return place.group === group && place.rank === rank;
  }
  const found: ReviewRow | undefined = await window.review(index - products + 1);
  return found?.version === version && placeOfReview(found.review).group === group;
}

function end(ticket: ListTicket | undefined, read: ListRead): void {
  if (ticket !== undefined) ticket.read = read;
}
