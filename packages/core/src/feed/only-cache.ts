import type { ConsumerRegistry, RecordedCollection, RecordedConsumer } from '../contracts/registry.js';
import { InvalidOptionError } from '../errors.js';

export interface OnlyCacheOptions {
  /** The consumer's name. */
  readonly consumer: string;
  readonly registry: ConsumerRegistry;
  /** The collections to record that were not declared to be of an additional cache. */
  readonly collections: readonly RecordedCollection[];
  readonly bounded: <T>(answer: Promise<T>) => Promise<T>;
}

/**
 * A consumer's claim to be the only cache of its tables. A second one is nearly always a prefix that was mistyped or
 * left out: an application and a worker that differ in it would both run, and nobody would keep the application's
 * cache in step. Whoever is recorded already stays, so that no restart is refused because of others; a cache that was
 * closed makes room.
 */
export class OnlyCache {
  readonly #options: OnlyCacheOptions;
  /** Sources that nobody was recorded for. */
  #unrecorded: readonly string[] = [];

  constructor(options: OnlyCacheOptions) {
    this.#options = options;
  }

  /** Called before the record is made. Throws `InvalidOptionError` where another cache is recorded, and this one is not. */
  async check(): Promise<void> {
    const { collections, consumer } = this.#options;
    const sources = [...new Set(collections.map(({ source }) => source))];
    const recorded = await this.#recorded(sources);
    const isOwn = (each: RecordedConsumer): boolean => each.consumer === consumer;
    for (const { source } of recorded) {
      const ofSource = recorded.filter((each) => each.source === source);
      if (!ofSource.some(isOwn)) throw this.#refusal(ofSource);
    }
    this.#unrecorded = sources.filter((source) => recorded.every((each) => each.source !== source));
  }

  /**
   * Called after the record was made: of two caches that were recorded at once at least one sees the other now. That one
   * takes its record back, and throws `InvalidOptionError`.
   */
  async confirm(): Promise<void> {
    const { bounded, consumer, registry } = this.#options;
    const recorded = await this.#recorded(this.#unrecorded);
    const others = recorded.filter((each) => each.consumer !== consumer);
    const [other] = others;
    if (other === undefined) return;
    // A role that may not remove it leaves a record that costs the store what it keeps for it.
    await bounded(registry.forget(consumer, [other.source])).catch(() => undefined);
    throw this.#refusal(others.filter(({ source }) => source === other.source));
  }

  async #recorded(sources: readonly string[]): Promise<readonly RecordedConsumer[]> {
    if (sources.length === 0) return [];
    const { bounded, consumer, registry } = this.#options;
    const recorded = await bounded(registry.consumers(sources));
    return recorded.filter((each) => !each.ended || each.consumer === consumer);
  }

  #refusal(others: readonly RecordedConsumer[]): InvalidOptionError {
    const { collections, consumer } = this.#options;
    const source = others[0]?.source;
    const own = collections.filter((each) => each.source === source).map(({ name }) => name);
    const recorded = others.map((other) => shown(other.consumer, other.collections)).join(', and ');
    return new InvalidOptionError(
      'prefix',
      `${source} is kept in step with ${recorded}; this is ${shown(consumer, own)}. ` +
        'Use that prefix in every process (createLockstep({ prefix })); or, where a second cache is meant, set ' +
        'additional: true in its collections and run a relay for it; or, where the other is used no more, remove its ' +
        `record: store.feed.registry.forget(${JSON.stringify(others[0]?.consumer)}, [${JSON.stringify(source)}])`,
      { collection: own[0] },
    );
  }
}

function shown(consumer: string, collections: readonly string[]): string {
  const [first, ...more] = collections.slice(0, 3).map((name) => `"${name}"`);
  if (first === undefined) return `the cache of prefix "${consumer}"`;
  const names = more.length === 0 ? `collection ${first}` : `collections ${[first, ...more].join(', ')}`;
  return `the cache of prefix "${consumer}" (${names})`;
}
