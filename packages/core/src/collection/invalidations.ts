import type { CacheOutcome, InvalidatedAll } from '../contracts/api.js';
import type { PayloadEncoding } from '../contracts/cache-commands.js';
import type { InvalidateAllOptions, InvalidateOptions } from '../contracts/options.js';
import type { Dependency } from '../contracts/views.js';
import { InvalidOptionError } from '../errors.js';
import type { OptionTable } from '../kit/options.js';
import { callerSleep } from '../kit/wait.js';
import { RowsDependency } from '../views/dependency.js';
import type { CallContext } from './call-context.js';
import { INVALIDATE, INVALIDATE_ALL } from './call-options.js';
import { CollectionLookups } from './lookups.js';
import { worstOf } from './results.js';

/** The most entries that are invalidated in one call of the cache. */
const MAX_TOGETHER = 250;

/** The calls of a collection that name its rows to views, and that make what is cached unreadable, beside those that read. */
export class CollectionInvalidations<Value, Id> extends CollectionLookups<Value, Id> {
  readonly #context: CallContext<Value, Id>;

  constructor(context: CallContext<Value, Id>) {
    super(context);
    this.#context = context;
  }

  any(): Dependency {
    return new RowsDependency(this.#context, 'any()', (tags) => tags.any);
  }

  id(id: Id): Dependency {
    return new RowsDependency(this.#context, 'id(…)', (tags) => tags.row(this.#context.checks.key(id)));
  }

  where(values: Partial<Value>): RowsDependency {
    if (typeof values !== 'object' && typeof values !== 'function') {
      throw new InvalidOptionError(`${this.#context.settings.name}.where`, 'must be an object of properties');
    }
    const { tags } = this.#context;
    const set = tags?.setOf(values);
    return new RowsDependency(this.#context, set?.description ?? 'where()', (own) =>
      own.where(set as NonNullable<typeof set>, values),
    );
  }

  async invalidate(id: Id | readonly Id[], options?: InvalidateOptions): Promise<CacheOutcome> {
    const { checks } = this.#context;
    return await this.#invalidate(
      () => (Array.isArray(id) ? checks.keys(id) : [checks.key(id as Id)]),
      options,
    );
  }

  async invalidateMany(ids: Iterable<Id>, options?: InvalidateOptions): Promise<CacheOutcome> {
    return await this.#invalidate(() => [...ids].map((id) => this.#context.checks.key(id)), options);
  }

  async #invalidate(keysOf: () => string[], options: InvalidateOptions = {}): Promise<CacheOutcome> {
    const { activity, checks, writes } = this.#context;
    await this.#begin(options, INVALIDATE);
    const keys = keysOf();
    const all = (): Promise<CacheOutcome[]> =>
      activity.track(Promise.all([...keys.map((key) => writes.invalidate(key)), ...this.#endViews()]));
    return worstOf(await checks.bounded(all, options));
  }

  async #begin(options: InvalidateOptions, known: OptionTable): Promise<void> {
    await this.#context.opening.open();
    this.checkOptions(options, known);
  }

  /** Ends all views of the collection: the values that the rows had before an unseen change are not known. */
  #endViews(): Promise<CacheOutcome>[] {
    const { tags } = this.#context;
    return tags === undefined ? [] : [tags.end(tags.all)];
  }

  async invalidateTag(values: Partial<Value>, options: InvalidateOptions = {}): Promise<CacheOutcome> {
    const { activity, checks } = this.#context;
    const { tags } = this.where(values);
    await this.#begin(options, INVALIDATE);
    const ending = () => activity.track(tags.endValues(values as Readonly<Record<string, unknown>>));
    return worstOf(await checks.bounded(ending, options));
  }

  async invalidateAll(options: InvalidateAllOptions = {}): Promise<InvalidatedAll> {
    const { activity, checks } = this.#context;
    await this.#begin(options, INVALIDATE_ALL);
    let over = false;
    try {
      const all = () => activity.track(invalidateAll(this.#context, options, () => over));
      const [rows, ...views] = await checks.bounded(() => Promise.all([all(), ...this.#endViews()]), options);
      return { ...rows, outcome: worstOf([rows.outcome, ...views]) };
    } finally {
      over = true;
    }
  }
}

/**
 * Walks the collection's entries and invalidates each, until `isOver`. A key that is there all the time is met at least
 * once, be it a hole whose reader loads right now: that reader's fill is lost then.
 */
async function invalidateAll<Value, Id>(
  context: CallContext<Value, Id>,
  { maxPerSecond = INVALIDATE_ALL.maxPerSecond.fallback, onProgress }: InvalidateAllOptions,
  isOver: () => boolean,
): Promise<InvalidatedAll> {
  const { cache, clock, codec, keyPrefix, lookups, near, opening, writes } = context;
  const startedAtMs = clock.monotonic();
  const together = Math.min(MAX_TOGETHER, maxPerSecond);
  const worst = new Set<CacheOutcome>();
  let invalidated = 0;
  const invalidate = async (
    keys: readonly string[],
    one: (key: string) => Promise<CacheOutcome>,
  ): Promise<void> => {
    const waitMs = startedAtMs + (invalidated / maxPerSecond) * 1_000 - clock.monotonic();
    if (waitMs > 0) await callerSleep(clock, waitMs);
    if (isOver()) return;
    opening.checkOpen();
    for (const outcome of await Promise.all(keys.map(one))) worst.add(outcome);
    invalidated += keys.length;
    onProgress?.(invalidated);
  };
  // Buffered writes that can't be flushed now stay, as where one key is invalidated.
  await writes.buffer?.flush().catch(() => undefined);
  const walk = async (
    start: string,
    encoding: PayloadEncoding,
    one: (key: string) => Promise<CacheOutcome>,
  ): Promise<void> => {
    let keys: string[] = [];
    for await (const { key } of cache.scan(start, encoding)) {
      if (isOver()) break;
      keys.push(key.slice(start.length));
      if (keys.length < together) continue;
      await invalidate(keys, one);
      keys = [];
    }
    if (keys.length > 0) await invalidate(keys, one);
  };
  await walk(keyPrefix, codec.serializer.encoding, (key) => writes.invalidate(key));
  for (const pointers of lookups) {
    await walk(pointers.recorded.keyPrefix, 'utf8', (key) => pointers.invalidate(key));
  }
  // The cache tells of no change of an entry that it had lost before.
  near?.clear();
  return { invalidated, outcome: worstOf([...worst]) };
}
