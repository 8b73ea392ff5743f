import type { CacheClient } from '../cache/client.js';
import type { CollectionSettings } from '../collection/settings.js';
import type { CacheOutcome } from '../contracts/outcome.js';
import type { StoreAdapter } from '../contracts/store.js';
import { InvalidOptionError, UnsupportedError } from '../errors.js';
import type { Consumer } from '../feed/consumer.js';
import type { Handover } from '../feed/handover.js';
import { tagInvalidation } from '../feed/invalidations.js';
import type { Membership } from '../feed/membership.js';
import {
  ALL_ROWS,
  ANY_ROW,
  ENDED,
  rowTag,
  tagsName,
  tagsPrefix,
  UNFLUSHED,
  valueTag,
} from '../protocol/tags.js';
import type { EngineContext } from '../runtime/context.js';
import { type Probe, probe } from './probe.js';
import { RowTags } from './row-tags.js';

/** Properties whose values name groups of rows, and the store's columns of them, sorted by column. */
interface TagSet {
  readonly properties: readonly string[];
  readonly columns: readonly string[];
  /** The columns as JSON. */
  readonly columnsText: string;
  /** For messages. */
  readonly description: string;
}

/** The set that params which nobody gave name. */
const NO_SET: TagSet = { properties: [], columns: [], columnsText: '[]', description: 'where()' };

export interface TagsOptions
  extends Pick<EngineContext, 'activity' | 'cache' | 'clock' | 'handover' | 'nextToken' | 'prefix'> {
  readonly settings: Pick<CollectionSettings, 'additional' | 'holeTtlMs' | 'name'>;
  readonly sets: readonly (string | readonly string[])[];
  readonly store: Pick<StoreAdapter<unknown, never>, 'declared' | 'name' | 'source'>;
  readonly consumer: Consumer | undefined;
}

/** The tags of one collection: what its store is asked to tell, and the cache's keys of them. */
export class CollectionTags {
  /** Tells whether every writer knows of the tags. */
  readonly member: Membership;
  /** The tags of the rows' own entries; `undefined`: they have none. */
  readonly rows: RowTags | undefined;
  readonly #cache: CacheClient;
  readonly #handover: Handover;
  readonly #collection: string;
  readonly #declared: StoreAdapter<unknown, never>['declared'];
  /** The start of the tags' keys. */
  readonly keyPrefix: string;
  readonly #sets: readonly TagSet[];

  /** Throws `UnsupportedError`. */
  constructor(options: TagsOptions) {
    const { cache, consumer, handover, prefix, sets, settings, store } = options;
    this.#cache = cache;
    this.#handover = handover;
    const { additional, holeTtlMs, name: collection } = settings;
    const { declared } = store;
    this.#collection = collection;
    this.#declared = declared;
    if (consumer === undefined) {
      throw new UnsupportedError(`collection "${collection}": tags: ${store.name} has no change feed`);
    }
    if (declared === undefined && sets.length > 0) {
      const problem = `${store.name} does not tell values of columns`;
      throw new UnsupportedError(`collection "${collection}": tags: ${problem}`);
    }
    const columnOf = (property: string): string => declared?.columnOf(property) ?? property;
    this.#sets = sets.map((set) => {
      const given = typeof set === 'string' ? [set] : set;
      const properties = given.toSorted((a, b) => (columnOf(a) < columnOf(b) ? -1 : 1));
      const columns = properties.map(columnOf);
      const description = `where(${properties.join(', ')})`;
      return { properties, columns, columnsText: JSON.stringify(columns), description };
    });
    const name = tagsName(collection);
    this.keyPrefix = tagsPrefix(prefix, name) as string;
    const recorded = { name, source: store.source, keyPrefix: this.keyPrefix, holeTtlMs, holeOnEmpty: false };
    const tags = this.#sets.map(({ columns }) => columns);
    this.member = consumer.join({ ...recorded, tags }, additional);
    const key = this.keyPrefix + ENDED;
    const namesOf = (row: Readonly<Record<string, unknown>>) =>
      this.#sets.map((set) => this.#nameOf(set, row));
    this.rows = sets.length === 0 ? undefined : new RowTags({ ...options, key, namesOf });
  }

  /** Asks whether the store tells the values of every set. Rejects with `InvalidOptionError`. */
  async check(): Promise<void> {
    const tags = this.#sets.map(({ properties }) => properties);
    if (tags.length > 0) await this.#declared?.check({ tags });
  }

  /** Ends a tag, outside of any write to the store, by whichever way is left. Never rejects. */
  end(key: string): Promise<CacheOutcome> {
    return this.#handover.invalidate(this.#cache, tagInvalidation(key));
  }

  /** Every view of the collection depends on it. */
  get all(): string {
    return this.keyPrefix + ALL_ROWS;
  }

  get unflushed(): string {
    return this.keyPrefix + UNFLUSHED;
  }

  get any(): string {
    return this.keyPrefix + ANY_ROW;
  }

  row(key: string): string {
    return this.keyPrefix + rowTag(key);
  }

  /** The tag of these values, of an open collection. Throws `InvalidIdError`. */
  where(set: TagSet, values: Readonly<Record<string, unknown>>): string {
    return this.keyPrefix + this.#nameOf(set, values);
  }

  /** Ends what views and rows have of these values. As `where`; does not reject. */
  endValues(values: Readonly<Record<string, unknown>>): Promise<CacheOutcome[]> {
    const name = this.#nameOf(this.setOf(values), values);
    return Promise.all([this.end(this.keyPrefix + name), this.rows?.end(name) ?? 'invalidated']);
  }

  #nameOf({ columns, columnsText, properties }: TagSet, values: Readonly<Record<string, unknown>>): string {
    const texts = properties.map((property) => this.#declared?.textOf(property, values[property]) ?? null);
    return valueTag(columns, texts, columnsText);
  }

  /** The set of exactly these properties. Throws `InvalidOptionError` where none is declared. */
  setOf(values: Readonly<Record<string, unknown>> | Probe): TagSet {
    if (values === probe) return NO_SET;
    const name = this.#collection;
    const given = Object.keys(values);
    const found = this.#sets.find(({ properties }) => isSetOf(properties, given));
    if (found !== undefined) return found;
    const declared = this.#sets.map(({ properties }) => `(${properties.join(', ')})`).join(', ') || 'none';
    throw new InvalidOptionError(
      `${name}.where`,
      `(${given.sort().join(', ')}) is not among the tags of collection "${name}": ${declared}`,
    );
  }
}

function isSetOf(properties: readonly string[], given: readonly string[]): boolean {
  return properties.length === given.length && given.every((each) => properties.includes(each));
}
