/** How soon a batch starts: after the current tick's other callers have added theirs. */
export type Tick = (flush: () => void) => void;

/** After the microtasks of this moment: for calls that cost no round trip, and for writes. */
export const nextTick: Tick = (flush) => process.nextTick(flush);

/** After everything that this turn of the event loop received: a round trip gains more than it waits. */
export const nextImmediate: Tick = (flush) => {
  setImmediate(flush);
};

export interface BatcherOptions<Item> {
  readonly tick: Tick;
  /** While no batch is under way. @defaultValue `tick` */
  readonly idleTick?: Tick;
  /** The most items of one batch. */
  readonly maxItems: number;
  /** The most batches under way at once. @defaultValue no limit */
  readonly maxInFlight?: number;
  /** No batch starts while so many items are under way. @defaultValue no limit */
  readonly maxItemsInFlight?: number;
  /** What an item weighs in `maxBytes`. @defaultValue nothing */
  readonly bytesOf?: (item: Item) => number;
  /** The most bytes of a batch of more than one item; no batch starts while twice as many are under way. @defaultValue no limit */
  readonly maxBytes?: number;
  /** Settles every item of the batch; must not reject. */
  readonly run: (items: Item[]) => Promise<void>;
}

/**
 * Lets what is asked for at the same time travel together. A lone item starts in the same tick; while
 * as much is under way as may be, items wait and join the next batch.
 */
export class Batcher<Item> {
  #waiting: Item[] = [];
  #inFlight = 0;
  #itemsInFlight = 0;
  #bytesInFlight = 0;
  #scheduled = false;

  readonly #options: BatcherOptions<Item>;

  constructor(options: BatcherOptions<Item>) {
    this.#options = options;
  }

  /** Items not yet handed to `run`. */
  get waiting(): number {
    return this.#waiting.length;
  }

  add(item: Item): void {
    this.#waiting.push(item);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled || this.#isFull()) return;
    this.#scheduled = true;
    const { tick, idleTick = tick } = this.#options;
    (this.#inFlight === 0 ? idleTick : tick)(this.#start);
  }

  #isFull(): boolean {
    const {
      maxBytes = Number.POSITIVE_INFINITY,
      maxInFlight = Number.POSITIVE_INFINITY,
      maxItemsInFlight = Number.POSITIVE_INFINITY,
    } = this.#options;
    return (
      this.#inFlight >= maxInFlight ||
      this.#itemsInFlight >= maxItemsInFlight ||
      this.#bytesInFlight >= 2 * maxBytes
    );
  }

  readonly #start = (): void => {
    this.#scheduled = false;
    while (this.#waiting.length > 0 && !this.#isFull()) {
      const all = this.#waiting;
      const { bytes, count } = this.#next(all);
      const batch = all.length <= count ? all : all.slice(0, count);
      this.#waiting = all.length <= count ? [] : all.slice(count);
      this.#inFlight++;
      this.#itemsInFlight += count;
      this.#bytesInFlight += bytes;
      void this.#options.run(batch).then(() => this.#done(batch, bytes));
    }
  };

  /** How many of the waiting ones travel together. */
  #next(all: readonly Item[]): { readonly bytes: number; readonly count: number } {
    const { bytesOf, maxBytes = Number.POSITIVE_INFINITY, maxItems } = this.#options;
    const most = Math.min(maxItems, all.length);
    if (bytesOf === undefined) return { bytes: 0, count: most };
    let bytes = 0;
    let count = 0;
    for (; count < most; count++) {
      const more = bytesOf(all[count] as Item);
      if (count > 0 && bytes + more > maxBytes) break;
      bytes += more;
    }
    return { bytes, count };
  }

  #done(batch: Item[], bytes: number): void {
    this.#inFlight--;
    this.#itemsInFlight -= batch.length;
    this.#bytesInFlight -= bytes;
    // The array may live longer than the batch, and would keep the items alive until a full collection.
    batch.length = 0;
    if (this.#waiting.length > 0) this.#schedule();
  }
}
