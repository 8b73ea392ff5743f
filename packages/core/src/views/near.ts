import type { CacheHit } from '../contracts/cache-commands.js';
import { InvalidOptionError } from '../errors.js';
import { NearEntries, type NearEntry, type NearMark } from '../near/entries.js';
import type { NearSettings } from '../near/settings.js';
import type { EngineContext } from '../runtime/context.js';
import type { RowsDependency } from './dependency.js';
import type { ViewCodec } from './entry.js';

export interface NearViewOptions<Value> {
  readonly context: EngineContext;
  readonly settings: { readonly name: string; readonly ttlMs: number };
  readonly near: NearSettings;
  readonly keyPrefix: string;
  readonly codec: ViewCodec<Value>;
  /** The rows that are known when the view is defined. */
  readonly rows: readonly RowsDependency[];
}

/** A reading of a view, as far as it concerns near entries. */
interface Marked {
  readonly key: string;
  readonly cacheKey: string;
  readonly tags: readonly string[];
  readonly mark: NearMark | undefined;
}

/**
 * The near entries of a view. Each hangs on the tags that its entry in the cache was found current by: a message about one of
 * them ends it. A message replaces nothing that hangs on the tag; the next read of each entry finds that the tag's counter
 * has moved.
 */
export class NearView<Value> {
  readonly #context: EngineContext;
  readonly #entries: NearEntries<Value>;

  /** Throws `InvalidOptionError` where there are too many. */
  constructor({ codec, context, keyPrefix, near, rows, settings }: NearViewOptions<Value>) {
    const { cache, clock, nearWatch } = context;
    const { name, ttlMs } = settings;
    this.#context = context;
    this.#entries = new NearEntries<Value>({
      ...{ collection: name, keyPrefix, settings: near, ttlMs, negativeTtlMs: ttlMs, cache, clock },
      ...{ watch: nearWatch, listKey: undefined, shape: undefined },
      measure: (value, key) => codec.values.measure(value, key),
    });
    const where = `view("${name}")`;
    nearWatch.add(this.#entries, where);
    // The tag of its pages starts like its keys.
    nearWatch.addTags(keyPrefix, true);
    for (const { description, tags } of rows) {
      if (nearWatch.watchTags(tags.keyPrefix)) continue;
      const problem = `depends on ${description}, whose tags can't be watched: too many collections' are`;
      throw new InvalidOptionError(`${where}.near`, problem);
    }
    cache.onChange ??= (key) => nearWatch.changed(key);
  }

  /** The entry, if it may be served now. */
  find(key: string): NearEntry<Value> | undefined {
    const { cache, cacheSwitch } = this.#context;
    return cacheSwitch.off || cache.trust.anyLost ? undefined : this.#entries.find(key, 0);
  }

  /** Called before the entry and its tags are read from the cache; `undefined`: the answer is not to be stored. */
  mark(key: string, tags: readonly string[], rows: readonly RowsDependency[]): NearMark | undefined {
    const noted = this.#context.nearWatch.note(
      tags,
      rows.map((row) => row.tags.member),
    );
    return noted && this.#entries.mark(key, noted);
  }

  /** Called before tags that a load had found are read. */
  alsoNote({ tags }: NearMark, keys: readonly string[]): void {
    const { nearWatch } = this.#context;
    if (tags !== undefined && nearWatch.alsoNote(tags, keys) && !this.#isKnown(keys)) tags.end();
  }

  /** Stores what was found current, unless it may have changed since. */
  store({ cacheKey, key, mark, tags }: Marked, hit: CacheHit, value: Value): void {
    if (mark !== undefined && this.#isKnown([cacheKey, ...tags])) {
      this.#entries.store(key, mark, hit, value);
    }
  }

  /**
   * True when the generation by which tokens were judged is that of the very servers that tell of changes: right behind a
   * failover a process may take tokens by what it knew of the cache before.
   */
  #isKnown(keys: readonly string[]): boolean {
    const { cache, nearWatch } = this.#context;
    return cache.trust.isKnownSince(keys, nearWatch.sinceMs);
  }

  /** The entry at a key of the cache is not to be served any more. */
  drop(cacheKey: string): void {
    this.#context.nearWatch.changed(cacheKey);
  }
}
