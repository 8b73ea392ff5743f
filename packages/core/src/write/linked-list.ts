/** The links of a {@link LinkedList}; an item is in one list at most. */
export interface Linked<Item> {
  previous: Item | undefined;
  next: Item | undefined;
}

/**
 * Items in the order in which they came, each removed in constant time. An item that was removed points to no
 * other: a chain of dead ones would keep what came later alive.
 */
export class LinkedList<Item extends Linked<Item>> {
  #first: Item | undefined;
  #last: Item | undefined;
  #size = 0;

  get first(): Item | undefined {
    return this.#first;
  }

  get size(): number {
    return this.#size;
  }

  has(item: Item): boolean {
    return item.previous !== undefined || this.#first === item;
  }

  add(item: Item): void {
    item.previous = this.#last;
    if (this.#last === undefined) this.#first = item;
    else this.#last.next = item;
    this.#last = item;
    this.#size++;
  }

  addFirst(item: Item): void {
    item.next = this.#first;
    if (this.#first === undefined) this.#last = item;
    else this.#first.previous = item;
    this.#first = item;
    this.#size++;
  }

  /** False when it is not in the list. */
  delete(item: Item): boolean {
    if (!this.has(item)) return false;
    const { next, previous } = item;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    item.previous = undefined;
    item.next = undefined;
    this.#size--;
    return true;
  }
}
