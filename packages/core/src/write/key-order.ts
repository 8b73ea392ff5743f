import { KeyTable } from './key-table.js';

/** The links of a {@link KeyOrder}. */
export interface Ordered<Item> {
  readonly key: string;
  earlier: Item | undefined;
  later: Item | undefined;
}

/** Items of many keys, each key's in their order. */
export class KeyOrder<Item extends Ordered<Item>> {
  readonly #last = new KeyTable<Item>();

  /** The key's last item. */
  last(key: string): Item | undefined {
    return this.#last.get(key);
  }

  /** Behind the key's last one, or right behind another of the key. */
  add(item: Item, behind?: Item): void {
    const last = this.#last.get(item.key);
    const earlier = behind ?? last;
    if (earlier === last) this.#last.set(item.key, item);
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
    else if (earlier !== undefined) this.#last.set(key, earlier);
    else this.#last.delete(key);
    if (earlier === undefined) return later;
    earlier.later = later;
    return undefined;
  }
}
