import type { CollectionContext } from '../collection/context.js';
import { repeat } from '../kit/wait.js';
import type { Flusher } from './flusher.js';
import type { OpenedIndex } from './opened.js';

/** The bounds of a walk through the index. */
interface Walk {
  /** How many, at the most. */
  readonly keys: number;
  /** None with a higher mark. */
  readonly newest: number;
  /** Keys that are done leave the index, but for those with a higher mark. */
  readonly removable: number;
  /** True: each key is waited for, and a page that fails does not end the walk. */
  readonly patient: boolean;
}

const EVERY_MS = 500;
/** Younger keys are somebody's: a job's, or their writer's own. */
const OLDER_THAN_MS = 1_000;
const REBUILD_EVERY_MS = 600_000;
const PAGE = 500;

/** Goes through the index of unflushed keys, oldest first, whoever buffered them. */
export class Sweeps<Value> {
  readonly #collection: CollectionContext<Value>;
  readonly #flusher: Flusher<Value>;
  readonly #index: OpenedIndex;
  /** A key that was added more recently may be that of a write which has not reached its entry yet. */
  readonly #graceMs: number;

  constructor(
    collection: CollectionContext<Value>,
    flusher: Flusher<Value>,
    index: OpenedIndex,
    graceMs: number,
  ) {
    this.#collection = collection;
    this.#flusher = flusher;
    this.#index = index;
    this.#graceMs = graceMs;
  }

  /** As {@link BufferedWrites.hasUnflushed}. Keys of the index may be done. */
  async hasUnflushed(except: string | undefined): Promise<boolean> {
    for (let after = 0; ; ) {
      const page = await this.#index.list(after, PAGE);
      const others = page.filter(({ key }) => key !== except);
      const hits = await Promise.all(others.map(({ key }) => this.#flusher.unflushed(key)));
      if (hits.some((hit) => hit !== undefined)) return true;
      if (page.length < PAGE) return false;
      after = page.at(-1)?.mark ?? after;
    }
  }

  /** As {@link BufferedWrites.flush}. */
  async flushAll(): Promise<number> {
    const removable = await this.#markBefore(this.#graceMs);
    const keys = await this.#index.size();
    return await this.#walk({ keys, newest: Number.POSITIVE_INFINITY, removable, patient: true });
  }

  /** Resolves with how many keys had something; rejects with the first error once all were tried. */
  async #walk({ keys, newest, patient, removable }: Walk, signal?: AbortSignal): Promise<number> {
    let flushed = 0;
    let failure: unknown;
    for (let after = 0, left = keys; left > 0 && !signal?.aborted; ) {
      const limit = this.#flusher.pageSize;
      const listed = await this.#index.list(after, limit);
      const page = listed.filter(({ mark }) => mark <= newest);
      const { done, failed, found } = await this.#flusher.flushPage(page, patient);
      await this.#index.remove(done.filter(({ mark }) => mark <= removable));
      failure ??= failed;
      flushed += found;
      // A sweep stops at a page of which nothing could be flushed; `flushAll` tries the pages behind it, too.
      if (page.length < limit || (!patient && failed !== undefined && done.length === 0)) break;
      left -= page.length;
      after = page.at(-1)?.mark ?? after;
    }
    if (failure !== undefined) throw failure;
    return flushed;
  }

  /** The mark of that long ago, by the index's clock. */
  async #markBefore(ms: number): Promise<number> {
    const { nowMs } = await this.#index.add([], 0);
    return (nowMs - ms) * 1_000;
  }

  /**
   * As {@link BufferedWrites.sweep}. The index is rebuilt from the entries at the start, from time to time, and when
   * the cache may have lost some of it; beside the sweeps, since reading all entries of a large cache takes minutes.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, events } = this.#collection;
    let incomplete = true;
    let rebuiltAtMs = 0;
    const unsubscribe = events.on('cacheGeneration', () => {
      incomplete = true;
    });
    const sweep = async (): Promise<void> => {
      const newest = await this.#markBefore(Math.max(OLDER_THAN_MS, this.#graceMs));
      const keys = Number.POSITIVE_INFINITY;
      await this.#walk({ keys, newest, removable: newest, patient: false }, signal);
    };
    const rebuild = async (): Promise<void> => {
      if (!incomplete && clock.monotonic() - rebuiltAtMs < REBUILD_EVERY_MS) return;
      incomplete = false;
      try {
        await this.#rebuildIndex(signal);
      } catch (error) {
        incomplete = true;
        throw error;
      }
      rebuiltAtMs = clock.monotonic();
    };
    const onError = (error: unknown): void => events.error.emit({ where: 'sweep', error });
    const how = { clock, everyMs: EVERY_MS, onError };
    await Promise.all([repeat(sweep, how, signal), repeat(rebuild, how, signal)]);
    unsubscribe();
  }

  /** Adds to the index what the cache holds unflushed: after the index itself may have been lost. */
  async #rebuildIndex(signal: AbortSignal): Promise<void> {
    const { cache, codec, keyPrefix } = this.#collection;
    let keys: string[] = [];
    const add = async (): Promise<void> => {
      if (keys.length > 0) await this.#index.add(keys, Number.MAX_SAFE_INTEGER);
      keys = [];
    };
    for await (const { key, unflushed } of cache.scan(keyPrefix, codec.serializer.encoding)) {
      if (signal.aborted) return;
      if (unflushed !== true) continue;
      keys.push(key.slice(keyPrefix.length));
      if (keys.length === PAGE) await add();
    }
    await add();
  }
}
