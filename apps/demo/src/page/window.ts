import { byId, element, setText } from '@lockstep/worker/page';
import type { ProductPage } from '../engines/engine.js';
import type { WindowView } from '../messages.js';
import type { ReviewRow } from '../stores/store.js';

const FOLLOW_MS = 1_000;
/** Reviews of a product that are shown; its page has all of them. */
const SHOWN_REVIEWS = 5;
const STARS = 5;

/** A category's list and a product page, read through views as any customer of the shop reads them. */
export class ShopWindow {
  #asking = false;

  constructor() {
    const ask = (event: Event): void => {
      event.preventDefault();
      void this.#look();
    };
    byId('window').addEventListener('submit', ask);
    byId('window-category').addEventListener('change', ask);
    setInterval(() => {
      if (!document.hidden) void this.#look();
    }, FOLLOW_MS);
    void this.#look();
  }

  async #look(): Promise<void> {
    const product = byId<HTMLInputElement>('window-product').value;
    if (this.#asking || !/^[1-9]\d{0,9}$/.test(product)) return;
    this.#asking = true;
    try {
      const category = byId<HTMLSelectElement>('window-category').value;
      const response = await fetch(`/window?${new URLSearchParams({ category, product })}`);
      if (!response.ok) throw new Error(`answered ${response.status}`);
      const { view } = (await response.json()) as { view: WindowView | null };
      if (view !== null) show(view);
      setText('window-said', view === null ? 'no application answers' : 'as of now');
    } catch {
      setText('window-said', 'can not look right now');
    } finally {
      this.#asking = false;
    }
  }
}

function show({ page, products }: WindowView): void {
  byId('window-list').replaceChildren(
    ...products.map(({ product }) => line(`${product.name}`, price(product.price))),
  );
  showPage(page);
}

function showPage({ product, reviews }: ProductPage): void {
  setText('window-name', product === null ? 'There is no such product.' : product.product.name);
  setText('window-price', product === null ? '–' : price(product.product.price));
  setText('window-reviews', String(reviews.length));
  setText('window-stars', reviews.length === 0 ? '–' : mean(reviews).toFixed(1));
  byId('window-opinions').replaceChildren(
    ...reviews.slice(-SHOWN_REVIEWS).map(({ review }) => line(review.text, stars(review.stars))),
  );
}

function line(text: string, end: string): HTMLElement {
  const name = element('span', text);
  name.title = text;
  return element('li', [name, element('b', end)]);
}

function price(cents: number): string {
  return (cents / 100).toFixed(2);
}

function mean(reviews: readonly ReviewRow[]): number {
  return reviews.reduce((sum, { review }) => sum + review.stars, 0) / reviews.length;
}

function stars(count: number): string {
  return `${count} of ${STARS}`;
}
