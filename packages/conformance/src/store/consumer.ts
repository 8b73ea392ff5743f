import type { Change, ChangeFeed, FeedConsumeOptions } from '@lockstep/core';
import { expectThat } from '../kit/expect.js';
import { bounded } from '../kit/runner.js';
import type { StoreContext, TestRow } from './context.js';

type Row = TestRow<unknown, unknown>;

export function feedOf(c: StoreContext): ChangeFeed {
  const { feed } = c.store;
  expectThat(feed !== undefined, 'capabilities.changeFeed is claimed, but store.feed is missing');
  return feed;
}

/** A consumer of the store's feed that remembers what it took. */
export class Consumer {
  readonly taken: Change[] = [];
  readonly errors: unknown[] = [];
  readonly #abort = new AbortController();
  readonly #done: Promise<void>;
  readonly #c: StoreContext;

  constructor(
    c: StoreContext,
    before: (changes: readonly Change[]) => Promise<void> | void = () => {},
    options: Partial<FeedConsumeOptions> = {},
  ) {
    this.#c = c;
    this.#done = feedOf(c).consume(
      async (changes) => {
        expectThat(changes.length > 0, 'a handler must not be called without changes');
        await before(changes);
        this.taken.push(...changes);
      },
      {
        sources: [c.store.source],
        onError: (error) => this.errors.push(error),
        ...options,
        signal: this.#abort.signal,
      },
    );
    this.#done.catch(() => {});
  }

  /** The newest change of the row that it took. */
  newest(row: Row): Change | undefined {
    return this.taken
      .filter(({ key }) => key === row.key)
      .reduce<Change | undefined>((a, b) => (a !== undefined && a.version > b.version ? a : b), undefined);
  }

  /** Waits until it took this version, or a newer one, of the row. */
  async took(row: Row, version: number, what: string): Promise<Change> {
    return await this.#c.eventually(`the feed hands over ${what} (version ${version})`, () => {
      const change = this.newest(row);
      return change !== undefined && change.version >= version ? change : undefined;
    });
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await bounded('consume() after its signal aborted', this.#c.deadlineMs, this.#done);
  }
}

/** Runs the body beside a consumer. */
export async function consuming(c: StoreContext, body: (consumer: Consumer) => Promise<void>): Promise<void> {
  const consumer = new Consumer(c);
  try {
    await body(consumer);
  } finally {
    await consumer.stop();
  }
}
