import type { ChangeFeed } from '../contracts/feed.js';
import type { Flusher } from './flusher.js';

/** What of the flushers is used here. */
type Flushing = Pick<Flusher<unknown>, 'flushAll' | 'hasWaiting'>;

interface Member {
  readonly feed: ChangeFeed | undefined;
  readonly flusher: Flushing;
}

/** The buffers of all collections of a Lockstep, by the database that they are flushed to. */
export class UnflushedWrites {
  readonly #members: Member[] = [];

  /** True while no collection has a buffer. */
  get none(): boolean {
    return this.#members.length === 0;
  }

  add(feed: ChangeFeed | undefined, flusher: Flushing): void {
    this.#members.push({ feed, flusher });
  }

  /** True while one of them holds a write that the database does not have, but for that of one flusher's key. */
  async anyWaiting(feed: ChangeFeed | undefined, own: Flushing, key: string): Promise<boolean> {
    for (const { flusher } of this.#of(feed)) {
      if (await flusher.hasWaiting(flusher === own ? key : undefined)) return true;
    }
    return false;
  }

  /** Flushes them; what could not be flushed is left to its own flusher. */
  async flush(feed: ChangeFeed | undefined): Promise<void> {
    await Promise.allSettled(this.#of(feed).map(({ flusher }) => flusher.flushAll()));
  }

  #of(feed: ChangeFeed | undefined): readonly Member[] {
    return this.#members.filter((member) => member.feed === feed);
  }
}
