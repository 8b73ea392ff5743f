import type { Alteration, Alterations } from '../contracts/feed.js';
import type { RecordedCollection } from '../contracts/registry.js';
import { StoreTimeoutError } from '../errors.js';
import { repeat, withTimeout } from '../kit/wait.js';
import type { EngineContext } from '../runtime/context.js';
import type { Consumer } from './consumer.js';

export interface AlterationWatchOptions extends Pick<EngineContext, 'clock' | 'events'> {
  readonly consumer: Consumer;
  /** Makes unreadable what the cache holds of these collections. Answers how many entries it was. */
  readonly reset: (collections: readonly RecordedCollection[]) => Promise<number>;
}

const POLL_MS = 1_000;
const TIMEOUT_MS = 5_000;
/** Rows that were on their way to the cache when the table was altered have arrived after so long. */
const AGAIN_MS = 5_000;

/**
 * Notices, until the signal aborts, tables whose rows have other values without a change in the feed: columns that get
 * another type, labels of enums that are renamed, tables that are swapped. Everything of such a table goes, at once and
 * once more for what was on its way. Where a table has only got more, its rows stay, and views of it go.
 */
export async function watchAlterations(options: AlterationWatchOptions, signal: AbortSignal): Promise<void> {
  const { clock, consumer, events } = options;
  const { alterations } = consumer.feed;
  if (alterations === undefined) return;
  const watch = new AlterationWatch(options, alterations);
  const onError = (error: unknown): void => events.error.emit({ where: 'alterations', error });
  await repeat(() => watch.look(signal), { clock, everyMs: POLL_MS, onError }, signal);
}

class AlterationWatch {
  readonly #options: AlterationWatchOptions;
  readonly #alterations: Alterations;
  /** By source and key prefix. The store forgets the collections of a table that is detached. */
  readonly #collections = new Map<string, Map<string, RecordedCollection>>();
  /** By source: when its second pass is due. */
  readonly #againAtMs = new Map<string, number>();
  /** Sources that are detached, once they were dealt with: nowhere else is it noted. */
  #detached = new Set<string>();

  constructor(options: AlterationWatchOptions, alterations: Alterations) {
    this.#options = options;
    this.#alterations = alterations;
  }

  async look(signal: AbortSignal): Promise<void> {
    const { clock, consumer } = this.#options;
    this.#noteCollections();
    const checking = this.#alterations.check(consumer.consumer, [...this.#collections.keys()]);
    const late = (): Error => new StoreTimeoutError(`the catalogue was not read within ${TIMEOUT_MS} ms`);
    const found = await withTimeout(clock, checking, TIMEOUT_MS, late);
    const detached = found.filter(({ kind }) => kind === 'detached').map(({ source }) => source);
    this.#detached = new Set(detached.filter((source) => this.#detached.has(source)));
    for (const alteration of found) {
      if (signal.aborted) return;
      if (!this.#detached.has(alteration.source)) await this.#dealWith(alteration);
    }
    await this.#passAgain();
  }

  #noteCollections(): void {
    const { consumer } = this.#options;
    for (const source of consumer.sources()) {
      const known = this.#collections.get(source) ?? new Map<string, RecordedCollection>();
      this.#collections.set(source, known);
      for (const each of consumer.collections(source)) known.set(each.keyPrefix, each);
    }
  }

  /** Rejects where the cache did not take it: nothing is noted then, and it is tried again. */
  async #dealWith(alteration: Alteration): Promise<void> {
    const { clock, consumer, events } = this.#options;
    const { kind, source } = alteration;
    if (kind === 'grown') {
      await this.#options.reset(this.#known(source).filter(({ tags }) => tags !== undefined));
      return await this.#alterations.dealtWith(consumer.consumer, alteration);
    }
    const invalidated = await this.#reset(source);
    this.#againAtMs.set(source, clock.monotonic() + AGAIN_MS);
    if (kind === 'detached') this.#detached.add(source);
    else await this.#alterations.dealtWith(consumer.consumer, alteration);
    events.alteration.emit({ source, kind, invalidated });
  }

  async #passAgain(): Promise<void> {
    const now = this.#options.clock.monotonic();
    for (const [source, atMs] of [...this.#againAtMs]) {
      if (now < atMs) continue;
      await this.#reset(source);
      this.#againAtMs.delete(source);
    }
  }

  #reset(source: string): Promise<number> {
    return this.#options.reset(this.#known(source));
  }

  #known(source: string): RecordedCollection[] {
    return [...(this.#collections.get(source)?.values() ?? [])];
  }
}
