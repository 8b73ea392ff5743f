import type { BufferedWrites } from '../buffer/buffers.js';
import type { Opening } from '../collection/open.js';
import type { CollectionSettings } from '../collection/settings.js';
import type { StoreAdapter } from '../contracts/store.js';
import type { Dependency } from '../contracts/views.js';
import { InvalidOptionError } from '../errors.js';
import type { CollectionTags } from './tags.js';

/** A collection as a dependency needs it. */
export interface DependedOn {
  readonly settings: Pick<CollectionSettings, 'consistency' | 'name'>;
  readonly opening: Pick<Opening, 'open' | 'opened'>;
  readonly store: Pick<StoreAdapter<unknown, never>, 'serializer' | 'transactions'>;
  readonly tags: CollectionTags | undefined;
  readonly writes: { readonly buffer: Pick<BufferedWrites, 'flush'> | undefined };
}

/** Rows of one collection. */
export class RowsDependency implements Dependency {
  readonly description: string;
  readonly collection: DependedOn;
  readonly tags: CollectionTags;
  readonly #key: (tags: CollectionTags) => string;

  /**
   * @param key the cache's key of the tag, asked of an open collection
   * @throws `InvalidOptionError` where the collection has no tags
   */
  constructor(collection: DependedOn, what: string, key: (tags: CollectionTags) => string) {
    const { name } = collection.settings;
    if (collection.tags === undefined) {
      const problem =
        'must be given (an empty list will do for id and any) where views or invalidateTag name its rows';
      throw new InvalidOptionError(`collection("${name}").tags`, problem);
    }
    this.description = `${name}.${what}`;
    this.collection = collection;
    this.tags = collection.tags;
    this.#key = key;
  }

  get key(): string {
    return this.#key(this.tags);
  }
}

/** The dependencies of another view. */
export class ViewDependency implements Dependency {
  readonly description: string;
  readonly rows: readonly RowsDependency[];

  constructor(description: string, rows: readonly RowsDependency[]) {
    this.description = description;
    this.rows = rows;
  }
}

/** The rows that a `dependsOn` has named. Throws `InvalidOptionError`. */
export function rowsOf(named: unknown, view: string): RowsDependency[] {
  if (named instanceof RowsDependency) return [named];
  const all: unknown[] = Array.isArray(named) ? named : [named];
  return all.flatMap((each) => {
    if (each instanceof RowsDependency) return each;
    if (each instanceof ViewDependency) return each.rows;
    const problem =
      'must return what any(), id() or where() of a collection, or of() of a view give, or a list of these';
    throw new InvalidOptionError(`view("${view}").dependsOn`, problem);
  });
}

/** The keys of all tags, each once: of the rows, and of what can't be told of their collections. The collections are open. */
export function tagKeys(rows: readonly RowsDependency[], flushFirst: boolean): string[] {
  const [only] = rows;
  if (only !== undefined && rows.length === 1 && !flushFirst) return [only.tags.all, only.key];
  const keys = new Set<string>();
  for (const { collection, key, tags } of rows) {
    keys.add(tags.all).add(key);
    if (flushFirst && collection.writes.buffer !== undefined) keys.add(tags.unflushed);
  }
  return [...keys];
}
