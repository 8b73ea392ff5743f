import type { CacheHit, Payload, TagReply } from '../contracts/cache-commands.js';
import { tokenOf } from '../protocol/tags.js';
import type { ViewContext, ViewRead } from './context.js';
import { CHANGED, type FoundTags, type Tokens, type Unusable } from './entry.js';

/** A tag outlives the entries that depend on it, but for those of views with a longer time to live. */
const TAG_TTL_FACTOR = 2;

/** The value of an entry that is current, or why it can't be used. */
export type ViewDecoded<Value> = { readonly ok: true; readonly value: Value } | Unusable;

/**
 * The tokens of a view's tags: asked for before a load, and compared with those that its entry notes. The entry is
 * current while they are equal; a tag that is missing (evicted, expired, replaced) equals nothing.
 */
export class TagTokens<Params, Value> {
  readonly #context: ViewContext<Params, Value>;

  constructor(context: ViewContext<Params, Value>) {
    this.#context = context;
  }

  /**
   * The tokens for a load that begins afterwards, made where there are none; `undefined`: they can't be told now. The
   * generation is told first: a failover in between may bring back tokens that were replaced.
   */
  async ask(keys: readonly string[]): Promise<Tokens | undefined> {
    const { generations } = this.#context;
    const generation = generations.of(keys) ?? (await generations.prove(keys));
    return generation === undefined ? undefined : await this.askUnder(generation, keys);
  }

  async askUnder(generation: string, keys: readonly string[]): Promise<Tokens | undefined> {
    const { cache, nextToken, settings } = this.#context;
    const ttlMs = settings.ttlMs * TAG_TTL_FACTOR;
    const asking = keys.map((key) => cache.run({ kind: 'tag', key, token: nextToken(), ttlMs }));
    const replies = await Promise.all(asking).catch((): TagReply[] => []);
    const tokens = replies.flatMap(({ token }) => token ?? []);
    return tokens.length === keys.length ? { generation, tokens } : undefined;
  }

  /**
   * The value of an entry whose own tags, those that were not found by a load, have these tokens now. A promise only where
   * there are found ones, and where the value comes late.
   */
  decoded(
    asked: ViewRead<Params>,
    hit: CacheHit,
    now: Tokens,
  ): ViewDecoded<Value> | Promise<ViewDecoded<Value>> {
    const entry = this.#context.codec.open(hit, asked.key, now);
    if (!entry.ok) return entry;
    const { body, found } = entry;
    if (found === undefined) return this.#value(asked, hit, body);
    if (asked.mark !== undefined) this.#context.near?.alsoNote(asked.mark, found.keys);
    return this.areUnchanged(found.keys, found).then((same) =>
      same ? this.#value(asked, hit, body) : CHANGED,
    );
  }

  #value(
    { key }: ViewRead<Params>,
    { staleAtMs, version }: CacheHit,
    payload: Payload | undefined,
  ): ViewDecoded<Value> | Promise<ViewDecoded<Value>> {
    if (payload === undefined) return { ok: true, value: undefined as Value };
    return this.#context.codec.values.decode({ version, payload, staleAtMs }, key) as
      | ViewDecoded<Value>
      | Promise<ViewDecoded<Value>>;
  }

  /** True when the tags, asked after this call, have the tokens that they had, and are kept in step. Does not reject. */
  async areUnchanged(keys: readonly string[], before: Tokens): Promise<boolean> {
    const { anySuspended, cache, codec, generations } = this.#context;
    if (anySuspended(keys)) return false;
    const { encoding } = codec.serializer;
    const reading = keys.map((key) => cache.read(key, encoding));
    const now = await Promise.all(reading).catch(() => undefined);
    if (now === undefined) return false;
    const generation = generations.of(keys) ?? (await generations.prove(keys));
    return generation === before.generation && now.every((tag, i) => tokenOf(tag) === before.tokens[i]);
  }

  /** As `areUnchanged`, of the entry's own tags and those that a load has found. */
  async isStill(asked: ViewRead<Params>, before: Tokens, found: FoundTags | undefined): Promise<boolean> {
    const both = [this.areUnchanged(asked.tags, before)];
    if (found !== undefined) both.push(this.areUnchanged(found.keys, found));
    return (await Promise.all(both)).every(Boolean);
  }
}
