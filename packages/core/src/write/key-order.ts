/** A key's place: where its items are found. A write looks it up once, and goes by it from then on. */
export class KeyPlace<Item> {
  readonly key: string;
  /** The key's last item. */
  last: Item | undefined = undefined;

  constructor(key: string) {
    this.key = key;
  }
}

/** The links of a {@link KeyOrder}. */
export interface Ordered<Item> {
  readonly place: KeyPlace<Item>;
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
  #places = new Map<string, KeyPlace<Item>>();
  #limit = MIN_LIMIT;

  /** The key's last item. */
  last(key: string): Item | undefined {
    return this.#places.get(key)?.last;
  }

  /** The key's place, for an item that is added now: an empty one goes at the next renewal. */
  place(key: string): KeyPlace<Item> {
    return this.#places.get(key) ?? this.#newPlace(key);
  }

  /** Behind the key's last one, or right behind another of the key. */
  add(item: Item, behind?: Item): void {
    const { place } = item;
    const { last } = place;
    const earlier = behind ?? last;
    if (earlier === last) place.last = item;
    if (earlier === undefined) return;
    item.earlier = earlier;
    item.later = earlier.later;
    earlier.later = item;
    if (item.later !== undefined) item.later.earlier = item;
  }

  /** Returns the item that is first of the key now, if the deleted one was. */
  delete(item: Item): Item | undefined {
    const { earlier, later, place } = item;
    item.earlier = undefined;
    item.later = undefined;
    if (later !== undefined) later.earlier = earlier;
    else place.last = earlier;
    if (earlier === undefined) return later;
    earlier.later = later;
    return undefined;
  }

  #newPlace(key: string): KeyPlace<Item> {
    if (this.#places.size >= this.#limit) this.#renew();
    const place = new KeyPlace<Item>(key);
    this.#places.set(key, place);
    return place;
  }

  #renew(): void {
    const kept = new Map<string, KeyPlace<Item>>();
    this.#places.forEach((place, key) => {
      if (place.last !== undefined) kept.set(key, place);
    });
    this.#places = kept;
    this.#limit = Math.max(MIN_LIMIT, kept.size * 2);
  }
}
