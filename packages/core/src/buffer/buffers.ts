import type { ChangeFeed } from '../contracts/feed.js';
import type { FlushJob } from '../contracts/queue.js';

/** A collection's buffered writes, as the rest of the engine sees them. */
export interface BufferedWrites {
  /** Asks the cache whether it keeps what is buffered; one that can't be asked now takes nothing, and is asked again. */
  open(): Promise<void>;
  /** Keys that may hold a buffered write. */
  size(): Promise<number>;
  /** True while an entry, but for that of one key, is unflushed. */
  hasUnflushed(except: string | undefined): Promise<boolean>;
  /**
   * Brings the key's buffered write into the store, if there is one. Rejects with the store's error, with
   * `CacheUnavailableError`, or with `StoreBusyError` when others hold the row, or the write waits for others, for
   * longer than `patienceMs`; a write that the store refuses for good is set aside.
   *
   * @param patienceMs default: the store's time-out
   */
  flushKey(key: string, patienceMs?: number): Promise<void>;
  /** Flushes every key that is buffered now, by whomever. Resolves with how many were; rejects once all were tried. */
  flush(): Promise<number>;
  /** Flushes everything, before this process ends, if this process has buffered something. */
  flushOwn(): Promise<void>;
  /** Does what a job of the queue asks for. Rejects with `JobRefusedError` where trying again is pointless. */
  flushJob(job: FlushJob): Promise<void>;
  /** Flushes, until the signal aborts, what has been unflushed for too long: its writer died, its job was lost. */
  sweep(signal: AbortSignal): Promise<void>;
}

/** The buffers of all collections of a Lockstep, by the database that they are flushed to. */
export class Buffers {
  readonly #members: { readonly feed: ChangeFeed | undefined; readonly buffer: BufferedWrites }[] = [];

  get all(): readonly BufferedWrites[] {
    return this.#members.map(({ buffer }) => buffer);
  }

  /** True while no collection has a buffer. */
  get none(): boolean {
    return this.#members.length === 0;
  }

  add(feed: ChangeFeed | undefined, buffer: BufferedWrites): void {
    this.#members.push({ feed, buffer });
  }

  /** True while one of them holds a write that the database does not have, but for that of one buffer's key. */
  async hasUnflushed(feed: ChangeFeed | undefined, own: BufferedWrites, key: string): Promise<boolean> {
    for (const buffer of this.#of(feed)) {
      if (await buffer.hasUnflushed(buffer === own ? key : undefined)) return true;
    }
    return false;
  }

  /** Flushes them; what could not be flushed is left to its own buffer. */
  async flush(feed: ChangeFeed | undefined): Promise<void> {
    await Promise.allSettled(this.#of(feed).map((buffer) => buffer.flush()));
  }

  /** Flushes what this process has buffered. Failures are told; their writes stay in their buffers. */
  async flushOwn(failed: (error: unknown) => void): Promise<void> {
    await Promise.all(this.all.map((buffer) => buffer.flushOwn().catch(failed)));
  }

  #of(feed: ChangeFeed | undefined): readonly BufferedWrites[] {
    return this.#members.filter((member) => member.feed === feed).map(({ buffer }) => buffer);
  }
}
