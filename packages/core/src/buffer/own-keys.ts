import type { CollectionContext } from '../collection/context.js';
import type { UnflushedKey } from '../contracts/cache.js';
import { StoreBusyError } from '../errors.js';
import { Backoff } from '../kit/backoff.js';
import { sleep } from '../kit/wait.js';
import { BUSY_PAUSE_MS, type Flusher } from './flusher.js';
import type { OpenedIndex } from './opened.js';

const FIRST_PAUSE_MS = 20;
const LAST_PAUSE_MS = 2_000;

/** The keys that this process has buffered: handed to the queue, or flushed from here where it does not take them. */
export class OwnKeys<Value> {
  readonly #collection: CollectionContext<Value>;
  readonly #flusher: Flusher<Value>;
  readonly #index: OpenedIndex;
  /** Not handed over, and their marks in the index. */
  readonly #marks = new Map<string, number>();
  #running = false;

  constructor(collection: CollectionContext<Value>, flusher: Flusher<Value>, index: OpenedIndex) {
    this.#collection = collection;
    this.#flusher = flusher;
    this.#index = index;
  }

  add(keys: readonly UnflushedKey[]): void {
    this.#collection.activity.track(this.#handOver(keys));
  }

  async #handOver(keys: readonly UnflushedKey[]): Promise<void> {
    const { handover, settings } = this.#collection;
    const { name: collection } = settings;
    const taken = await Promise.all(
      keys.map(({ key }) => handover.offer({ kind: 'flush', collection, key })),
    );
    keys.forEach(({ key, mark }, i) => {
      if (taken[i] !== true) this.#marks.set(key, mark);
    });
    if (this.#marks.size > 0) this.#run();
  }

  #run(): void {
    if (this.#running) return;
    this.#running = true;
    const running = this.#flush().finally(() => {
      this.#running = false;
    });
    this.#collection.activity.track(running);
  }

  /** Flushes until nothing is left or this process closes; the index names the keys that are left then. */
  async #flush(): Promise<void> {
    const { clock, events, lifecycle, random } = this.#collection;
    const flusher = this.#flusher;
    const pauses = new Backoff({ clock, random, firstMs: FIRST_PAUSE_MS, lastMs: LAST_PAUSE_MS });
    while (this.#marks.size > 0 && !lifecycle.closed) {
      const page: UnflushedKey[] = [];
      for (const [key, mark] of this.#marks) {
        page.push({ key, mark });
        if (page.length === flusher.pageSize) break;
      }
      const { done, failed } = await flusher.flushPage(page);
      for (const { key, mark } of done) if (this.#marks.get(key) === mark) this.#marks.delete(key);
      await this.#index.remove(done).catch(() => undefined);
      if (failed === undefined) {
        pauses.reset();
        continue;
      }
      // Keys that failed go behind those that have not been tried.
      for (const { key } of page) {
        const mark = this.#marks.get(key);
        if (mark !== undefined && this.#marks.delete(key)) this.#marks.set(key, mark);
      }
      const busy = failed instanceof StoreBusyError;
      if (!busy) events.error.emit({ where: 'flush', error: failed });
      await sleep(clock, Math.min(pauses.nextMs(), busy ? BUSY_PAUSE_MS : LAST_PAUSE_MS));
    }
  }
}
