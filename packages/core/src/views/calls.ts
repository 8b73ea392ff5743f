import { CALL, INVALIDATE } from '../collection/call-options.js';
import { checkCall } from '../collection/checks.js';
import { worstOf } from '../collection/results.js';
import type { CacheOutcome } from '../contracts/api.js';
import type { CallOptions, InvalidateOptions, Transaction } from '../contracts/options.js';
import { NO_VERSION } from '../contracts/version.js';
import type { Dependency, VerifyOptions, View, ViewComparison, ViewOptions } from '../contracts/views.js';
import { ClosedError, InvalidOptionError, StoreTimeoutError, UnsupportedError } from '../errors.js';
import { Deadline } from '../kit/wait.js';
import type { NearEntry } from '../near/entries.js';
import { reportMiss } from '../read/reports.js';
import { TRACES, traced } from '../runtime/tracing.js';
import { copyOf } from '../values/copy.js';
import { asLockstepTransaction } from '../write/inside.js';
import type { ViewContext, ViewRead } from './context.js';
import { type RowsDependency, rowsOf, tagKeys, ViewDependency } from './dependency.js';
import { paramsKey } from './params.js';
import { VERIFY } from './settings.js';
import { TagTokens } from './tag-tokens.js';
import { compareWithStore } from './verify.js';
import { ViewLoader, type ViewReadContext } from './view-loader.js';
import { ViewMisses } from './view-misses.js';
import { ViewReader } from './view-reader.js';

/** How long a hole that an invalidation leaves keeps its floor, in ms. */
const HOLE_TTL_MS = 60_000;

/** The most that one call asks the cache for at once. */
const READ_TOGETHER = 500;

const NO_OPTIONS = {};

/** The public calls of a view. */
export class ViewCalls<Params, Value> implements View<Params, Value> {
  readonly name: string;
  readonly #context: ViewReadContext<Params, Value>;
  readonly #misses: ViewMisses<Params, Value>;
  readonly #reader: ViewReader<Params, Value>;
  /** True while its dependencies are asked for: whoever asks for them once more goes in circles. */
  #isAsked = false;

  constructor(context: ViewContext<Params, Value>) {
    this.name = context.settings.name;
    this.#context = { ...context, loader: new ViewLoader(context), tagTokens: new TagTokens(context) };
    this.#misses = new ViewMisses(this.#context);
    this.#reader = new ViewReader(this.#context, this.#misses);
  }

  get(params: Params, options: CallOptions = NO_OPTIONS): Promise<Value> {
    return this.page(params, undefined, options);
  }

  /** Adds no promise of its own to a hit. */
  page(params: Params, cursor?: unknown, options: CallOptions = NO_OPTIONS): Promise<Value> {
    try {
      if (this.#context.near !== undefined) {
        const found = this.#nearBy(params, cursor, options);
        if (found !== undefined) return Promise.resolve(copyOf(found.value as Value));
      }
      if (TRACES.get.hasSubscribers)
        return this.#traced(async () => await this.#get(params, cursor, options));
      return this.#get(params, cursor, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** The entry of this process that answers the call. Throws for a wrong one. */
  #nearBy(params: Params, cursor: unknown, options: CallOptions): NearEntry<Value> | undefined {
    if (options !== NO_OPTIONS) {
      checkCall(options, CALL);
      if (options.tx !== undefined) return undefined;
    }
    return this.#reader.near(this.#named(params, cursor).key);
  }

  /** May throw. */
  #get(params: Params, cursor: unknown, options: CallOptions): Promise<Value> {
    const asked = this.#asked(params, cursor);
    if (options === NO_OPTIONS && !(asked instanceof Promise)) return this.#reader.read(asked);
    return this.#getWith(asked, options);
  }

  async #getWith(asking: ViewRead<Params> | Promise<ViewRead<Params>>, options: CallOptions): Promise<Value> {
    const asked = await asking;
    checkCall(options, CALL);
    const { tx } = options;
    const reading = (): Promise<Value> =>
      tx === undefined ? this.#reader.read(asked) : this.#loadInside(asked, tx);
    return await this.#bounded(reading, options);
  }

  #traced(call: () => Promise<Value>): Promise<Value> {
    return traced('get', { collection: this.name, operation: 'view', keys: 1 }, call);
  }

  /** Reads in parts, one after the other, so that other reads come in between and no more loads wait than may. */
  async getMany(params: readonly Params[], options: CallOptions = NO_OPTIONS): Promise<Value[]> {
    checkCall(options, CALL);
    const all = [...params];
    const { tx } = options;
    const inside = tx === undefined ? NO_OPTIONS : { tx };
    const together = Math.min(READ_TOGETHER, Math.ceil(this.#context.settings.maxQueuedLoads / 2));
    let over = false;
    const reading = async (): Promise<Value[]> => {
      const values: Value[] = [];
      for (let from = 0; from < all.length && !over; from += together) {
        const part = all.slice(from, from + together).map((each) => this.get(each, inside));
        for (const value of await Promise.all(part)) values.push(value);
      }
      return values;
    };
    try {
      return await this.#bounded(reading, options);
    } finally {
      over = true;
    }
  }

  async refresh(params: Params, options: InvalidateOptions = NO_OPTIONS): Promise<Value> {
    checkCall(options, INVALIDATE);
    const asked = await this.#asked(params);
    reportMiss(this.#context, asked, 'fresh');
    const { activity } = this.#context;
    return await this.#bounded(() => activity.track(this.#misses.refresh(asked)), options);
  }

  async invalidate(params: Params, options: InvalidateOptions = NO_OPTIONS): Promise<CacheOutcome> {
    checkCall(options, INVALIDATE);
    const { cacheKey, key } = await this.#asked(params);
    const { activity } = this.#context;
    const both = () =>
      Promise.all([this.#invalidate(cacheKey, HOLE_TTL_MS), this.#invalidate(this.#pagesTag(key), 0)]);
    return worstOf(await this.#bounded(() => activity.track(both()), options));
  }

  /** The tag of all pages of the same params, but for the first one, whose entry can be told. */
  #pagesTag(key: string): string {
    return `${this.#context.keyPrefix}*${key}`;
  }

  async #invalidate(key: string, holeTtlMs: number): Promise<CacheOutcome> {
    const { cache, handover } = this.#context;
    const command = { kind: 'invalidate', key, version: NO_VERSION, holeTtlMs, holeOnEmpty: false } as const;
    try {
      return await handover.invalidate(cache, command);
    } finally {
      this.#misses.detach(key);
    }
  }

  async verify(params: Params, options: VerifyOptions = NO_OPTIONS): Promise<ViewComparison<Value>> {
    checkCall(options, VERIFY);
    const asked = await this.#asked(params);
    const { settleMs = VERIFY.settleMs.fallback } = options;
    const comparing = () => compareWithStore(this.#context, asked, settleMs);
    return await this.#bounded(() => this.#context.activity.track(comparing()), options);
  }

  of(params: Params): Dependency {
    if (this.#context.looksAtFound) {
      const problem = 'depends on what its loads find, which another view cannot know before it reads it';
      throw new UnsupportedError(`view "${this.name}": ${problem}`);
    }
    return new ViewDependency(`${this.name}.of(…)`, this.#rows(params));
  }

  #rows(params: Params): RowsDependency[] {
    if (this.#isAsked) throw new InvalidOptionError(`view("${this.name}").dependsOn`, 'depends on itself');
    this.#isAsked = true;
    try {
      return rowsOf(this.#context.dependsOn(params), this.name);
    } finally {
      this.#isAsked = false;
    }
  }

  /** Throws for params that can't be. */
  #named(
    given: Params,
    cursor: unknown,
  ): { readonly params: Params; readonly first: string; readonly key: string } {
    const { lifecycle, settings } = this.#context;
    if (lifecycle.closed) throw new ClosedError(`view "${this.name}": this Lockstep is closed`);
    const params = checkedParams(given, settings);
    const first = paramsKey(params, this.name);
    // No text of params alone begins so.
    return {
      params,
      first,
      key: cursor === undefined ? first : `>${paramsKey([params, cursor], this.name)}`,
    };
  }

  /** A promise only where a collection has to be opened. Throws, or rejects, for params that can't be. */
  #asked(given: Params, cursor?: unknown): ViewRead<Params> | Promise<ViewRead<Params>> {
    const { clock, keyPrefix, near, settings } = this.#context;
    const startedAtMs = clock.monotonic();
    const { first, key, params } = this.#named(given, cursor);
    const rows = this.#rows(params);
    const made = (): ViewRead<Params> => {
      const tags = tagKeys(rows, settings.flushFirst);
      if (cursor !== undefined) tags.push(this.#pagesTag(first));
      const mark = near?.mark(key, tags, rows);
      return { params, cursor, key, cacheKey: keyPrefix + key, rows, tags, startedAtMs, mark };
    };
    if (rows.every(({ collection }) => collection.opening.opened)) return made();
    return Promise.all(rows.map(({ collection }) => collection.opening.open())).then(made);
  }

  /** Loads in the transaction, and fills nothing. */
  async #loadInside(asked: ViewRead<Params>, tx: Transaction): Promise<Value> {
    const [store] = asked.rows.map(({ collection }) => collection.store);
    const loading = asLockstepTransaction(tx).call(store?.transactions, this.name, ({ client }) =>
      this.#context.loader.run(asked, client, tx),
    );
    return await loading;
  }

  #bounded<T>(start: () => Promise<T>, { signal, timeoutMs }: CallOptions): Promise<T> {
    if (timeoutMs === undefined && signal === undefined) return start();
    const late = (): Error =>
      new StoreTimeoutError(`view "${this.name}": no answer within ${timeoutMs} ms`, {
        collection: this.name,
      });
    const { clock } = this.#context;
    return new Deadline({ clock, timeoutMs: timeoutMs ?? Infinity, signal, late }).bound(start());
  }
}

/** The params as their schema gives them back. Throws `InvalidOptionError`. */
function checkedParams<Params>(
  given: Params,
  { name, params: schema }: { name: string; params: unknown },
): Params {
  if (schema === undefined) return given;
  const checked = (schema as NonNullable<ViewOptions<Params, never>['params']>)['~standard'].validate(given);
  if (checked instanceof Promise) {
    throw new InvalidOptionError(`view("${name}").params`, 'must validate synchronously');
  }
  if (checked.issues === undefined) return checked.value;
  throw new InvalidOptionError(
    `view("${name}").params`,
    checked.issues.map(({ message }) => message).join('; '),
  );
}
