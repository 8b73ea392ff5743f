import type { Change, ChangeFeed, FeedConsumeOptions } from '@lockstep/core';
import { expect, vi } from 'vitest';

/** A consumer of a feed that remembers what it was told. */
export class Consumer {
  readonly taken: Change[] = [];
  readonly errors: unknown[] = [];
  readonly resets: { readonly source: string; readonly version: number }[] = [];
  readonly #abort = new AbortController();
  readonly done: Promise<void>;

  constructor(feed: ChangeFeed, sources: readonly string[], options: Partial<FeedConsumeOptions> = {}) {
    this.done = feed.consume(
      async (changes) => {
        this.taken.push(...changes);
      },
      {
        sources,
        onError: (error) => this.errors.push(error),
        onReset: async (source, version) => {
          this.resets.push({ source, version });
        },
        ...options,
        signal: this.#abort.signal,
      },
    );
  }

  newest(key: string): Change | undefined {
    return this.taken
      .filter((change) => change.key === key)
      .reduce<Change | undefined>((a, b) => (a !== undefined && a.version > b.version ? a : b), undefined);
  }

  /** Waits for a change of the key above `version`. */
  async tookAbove(key: string, version: number, timeoutMs = 60_000): Promise<Change> {
    return await until(() => {
      const change = this.newest(key);
      return change !== undefined && change.version > version ? change : undefined;
    }, timeoutMs);
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.done;
  }
}

/** Polls until there is something. */
export async function until<T>(
  check: () => Promise<T | undefined> | T | undefined,
  timeoutMs = 60_000,
): Promise<T> {
  return await vi.waitFor(
    async () => {
      const found = await check();
      expect(found).toBeDefined();
      return found as T;
    },
    { timeout: timeoutMs, interval: 5 },
  );
}
