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
  /** The most batches under way at once. */
  readonly maxInFlight: number;
  /** Settles every item of the batch; must not reject. */
  readonly run: (items: Item[]) => Promise<void>;
}

/**
 * Lets what is asked for at the same time travel together. A lone item starts in the same tick; while
 * `maxInFlight` batches are under way, items wait and join the next.
 */
export class Batcher<Item> {
  #waiting: Item[] = [];
  #inFlight = 0;
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
    if (this.#scheduled || this.#inFlight >= this.#options.maxInFlight) return;
    this.#scheduled = true;
    const { tick, idleTick = tick } = this.#options;
    (this.#inFlight === 0 ? idleTick : tick)(this.#start);
  }

  readonly #start = (): void => {
    this.#scheduled = false;
    const { maxItems, maxInFlight } = this.#options;
    while (this.#waiting.length > 0 && this.#inFlight < maxInFlight) {
      const all = this.#waiting;
      const batch = all.length <= maxItems ? all : all.slice(0, maxItems);
      this.#waiting = all.length <= maxItems ? [] : all.slice(maxItems);
      this.#inFlight++;
      void this.#options.run(batch).then(() => this.#done(batch));
    }
  };

  #done(batch: Item[]): void {
    // The array may live longer than the batch, and would keep the items alive until a full collection.
    batch.length = 0;
    this.#inFlight--;
    if (this.#waiting.length > 0) this.#schedule();
  }
}
