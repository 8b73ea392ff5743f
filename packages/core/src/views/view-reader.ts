import type { CacheHit } from '../contracts/cache-commands.js';
import type { MissReason } from '../contracts/outcome.js';
import type { Version } from '../contracts/version.js';
import type { NearEntry } from '../near/entries.js';
import { tokenOf } from '../protocol/tags.js';
import { reportHit, reportMiss } from '../read/reports.js';
import type { ViewRead } from './context.js';
import type { RowsDependency } from './dependency.js';
import type { ViewDecoded } from './tag-tokens.js';
import type { ViewReadContext } from './view-loader.js';
import type { ViewMisses } from './view-misses.js';

type Answer = CacheHit | undefined | Error;

/** The reads of a view: the entry and its tags, together; what is not current is loaded. */
export class ViewReader<Params, Value> {
  readonly #context: ViewReadContext<Params, Value>;
  readonly #misses: ViewMisses<Params, Value>;

  constructor(context: ViewReadContext<Params, Value>, misses: ViewMisses<Params, Value>) {
    this.#context = context;
    this.#misses = misses;
  }

  /** Hot path: a hit makes one promise. One round trip; who asks for the same tag in this turn shares its answer. */
  read(asked: ViewRead<Params>): Promise<Value> {
    const { cache, cacheSwitch, codec } = this.#context;
    const { cacheKey, rows, tags } = asked;
    if (cacheSwitch.off || isSuspended(rows)) {
      return this.#readStore(asked, 'off');
    }
    const { trust } = cache;
    if (trust.anyLost && (trust.isLost(cacheKey) || tags.some((key) => trust.isLost(key)))) {
      return this.#readStore(asked);
    }
    const reads = cache.reads(codec.serializer.encoding);
    const { promise, resolve } = Promise.withResolvers<Value>();
    let entry: Answer;
    const found = new Array<Answer>(tags.length);
    let left = tags.length + 1;
    const arrived = (nowMs: number): void => {
      left--;
      if (left === 0) resolve(this.#found(asked, entry, found, nowMs));
    };
    reads.add(cacheKey, (answer, nowMs) => {
      entry = answer;
      arrived(nowMs);
    });
    for (let i = 0; i < tags.length; i++) {
      reads.add(tags[i] as string, (answer, nowMs) => {
        found[i] = answer;
        arrived(nowMs);
      });
    }
    return promise;
  }

  /** Turns the cache's answers into a value. Never throws. */
  #found(
    asked: ViewRead<Params>,
    entry: Answer,
    found: readonly Answer[],
    nowMs: number,
  ): Value | Promise<Value> {
    if (entry instanceof Error || hasFailed(found)) return this.#readStore(asked);
    if (entry === undefined) return this.#miss(asked, 'absent', undefined);
    const { cache, generations } = this.#context;
    const tags = found as readonly (CacheHit | undefined)[];
    const proof = cache.trust.proofOf(asked.cacheKey, nowMs);
    const generation = generations.of(asked.tags, nowMs);
    if (proof === undefined || generation === undefined) return this.#unproven(asked, entry, tags);
    return this.#judge(asked, entry, tags, generation, proof.maxVersion);
  }

  /** The last proof of a primary is too old: the probe that is under way decides. */
  async #unproven(
    asked: ViewRead<Params>,
    entry: CacheHit,
    tags: readonly (CacheHit | undefined)[],
  ): Promise<Value> {
    const { cache, generations } = this.#context;
    const proof = await cache.trust.prove(asked.cacheKey);
    const generation = await generations.prove(asked.tags);
    if (proof === undefined || generation === undefined) return await this.#readStore(asked);
    return await this.#judge(asked, entry, tags, generation, proof.maxVersion);
  }

  #judge(
    asked: ViewRead<Params>,
    entry: CacheHit,
    tags: readonly (CacheHit | undefined)[],
    generation: string,
    maxVersion: Version,
  ): Value | Promise<Value> {
    // No load has been given such a version. The cache's transitions treat the key as empty, too.
    if (entry.version > maxVersion) return this.#miss(asked, 'absent', undefined);
    const tokens = new Array<string>(tags.length);
    for (let i = 0; i < tags.length; i++) {
      const token = tokenOf(tags[i]);
      // A missing tag equals nothing.
      if (token === undefined) return this.#miss(asked, 'changed', entry.version);
      tokens[i] = token;
    }
    const decoded = this.#context.tagTokens.decoded(asked, entry, { generation, tokens });
    return decoded instanceof Promise
      ? decoded.then((late) => this.#decoded(asked, entry, late))
      : this.#decoded(asked, entry, decoded);
  }

  #decoded(asked: ViewRead<Params>, entry: CacheHit, decoded: ViewDecoded<Value>): Value | Promise<Value> {
    if (decoded.ok) return this.#hit(asked, entry, decoded.value);
    return this.#miss(asked, decoded.reason, entry.version);
  }

  #hit(asked: ViewRead<Params>, hit: CacheHit, value: Value): Value {
    if (asked.mark !== undefined) this.#context.near?.store(asked, hit, value);
    reportHit(this.#context, asked.key, hit, 'cache', asked.startedAtMs);
    return value;
  }

  /** The entry of this process, if it may be served now. Hot path: synchronous, and makes nothing. */
  near(key: string): NearEntry<Value> | undefined {
    const { clock, events, near } = this.#context;
    const startedAtMs = events.hit.wanted ? clock.monotonic() : 0;
    const found = near?.find(key);
    if (found !== undefined) reportHit(this.#context, key, found, 'near', startedAtMs);
    return found;
  }

  async #miss(
    asked: ViewRead<Params>,
    reason: MissReason | 'later-shape',
    unusable: Version | undefined,
  ): Promise<Value> {
    reportMiss(this.#context, asked, reason);
    return await this.#context.activity.track(this.#misses.read(asked, unusable));
  }

  /** The cache can't be reached, can't be believed, or is switched off. */
  async #readStore(asked: ViewRead<Params>, reason: 'unavailable' | 'off' = 'unavailable'): Promise<Value> {
    const { activity, cache } = this.#context;
    reportMiss(this.#context, asked, reason);
    cache.trust.due();
    return await activity.track(this.#context.loader.load(asked));
  }
}

function hasFailed(answers: readonly Answer[]): boolean {
  for (let i = 0; i < answers.length; i++) if (answers[i] instanceof Error) return true;
  return false;
}

function isSuspended(rows: readonly RowsDependency[]): boolean {
  for (let i = 0; i < rows.length; i++) if (rows[i]?.tags.member.suspended === true) return true;
  return false;
}
