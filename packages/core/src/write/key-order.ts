/** The links of a {@link KeyOrder}. */
export interface Ordered<Item> {
  readonly key: string;
  earlier: Item | undefined;
  later: Item | undefined;
}

/** As many keys as may come and go between two renewals, at the least. */
const MIN_LIMIT = 1_024;

/**
 * Items of many keys, each key's in their order. A key whose items have gone leaves an empty place behind, and now
 * and then what is left moves into a new map: one that shrinks and grows all the time costs V8 more
 * (`docs/performance.md`).
 */
export class KeyOrder<Item extends Ordered<Item>> {
  #lasts = new Map<string, Item | undefined>();
  #limit = MIN_LIMIT;

  /** The key's last item. */
  last(key: string): Item | undefined {
    return this.#lasts.get(key);
  }

  /** Behind the key's last one, or right behind another of the key. */
  add(item: Item, behind?: Item): void {
    const last = this.#lasts.get(item.key);
    const earlier = behind ?? last;
    if (earlier === last) this.#setLast(item.key, item);
    if (earlier === undefined) return;
    item.earlier = earlier;
    item.later = earlier.later;
    earlier.later = item;
    if (item.later !== undefined) item.later.earlier = item;
  }

  /** Returns the item that is first of the key now, if the deleted one was. */
  delete(item: Item): Item | undefined {
    const { earlier, key, later } = item;
    item.earlier = undefined;
    item.later = undefined;
    if (later !== undefined) later.earlier = earlier;
    else this.#lasts.set(key, earlier);
    if (earlier === undefined) return later;
    earlier.later = later;
    return undefined;
  }

  #setLast(key: string, item: Item): void {
    if (this.#lasts.size >= this.#limit) {
      const kept = new Map<string, Item>();
      this.#lasts.forEach((last, each) => {
        if (last !== undefined) kept.set(each, last);
      });
      this.#lasts = kept;
      this.#limit = Math.max(MIN_LIMIT, this.#lasts.size * 2);
    }
    this.#lasts.set(key, item);
  }
}
