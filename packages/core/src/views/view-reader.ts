import type { CacheHit } from '../contracts/cache-commands.js';
import type { LockstepEventMap } from '../contracts/events.js';
import type { Version } from '../contracts/version.js';
import type { Asked, ViewParts } from './context.js';
import { type Currency, tokenOf } from './current.js';
import type { Tokens } from './entry.js';
import type { ViewLoader } from './view-loader.js';
import type { ViewMisses } from './view-misses.js';

type Answer = CacheHit | undefined | Error;

/** The reads of a view: the entry and its tags, in one round trip; what is not current is loaded. */
export class ViewReader<Params, Value> {
  readonly #context: ViewParts<Params, Value>;
  readonly #loader: ViewLoader<Params, Value>;
  readonly #misses: ViewMisses<Params, Value>;
  readonly #currency: Currency<Params, Value>;

  constructor(
    context: ViewParts<Params, Value>,
    loader: ViewLoader<Params, Value>,
    misses: ViewMisses<Params, Value>,
    currency: Currency<Params, Value>,
  ) {
    this.#context = context;
    this.#loader = loader;
    this.#misses = misses;
    this.#currency = currency;
  }

  async read(asked: Asked<Params>): Promise<Value> {
    const { cache, cacheSwitch, clock } = this.#context;
    const { cacheKey, rows, tags } = asked;
    if (cacheSwitch.off || rows.some((row) => row.tags.member.suspended))
      return await this.#readStore(asked, 'off');
    if (cache.trust.anyLost && [cacheKey, ...tags].some((key) => cache.trust.isLost(key))) {
      return await this.#readStore(asked);
    }
    const [entry, ...found] = await this.#together([cacheKey, ...tags]);
    if (entry instanceof Error || found.some(isError)) return await this.#readStore(asked);
    if (entry === undefined) return await this.#miss(asked, 'absent', undefined);
    const now = await this.#now(asked, found as (CacheHit | undefined)[]);
    const proof = cache.trust.proofOf(cacheKey, clock.monotonic()) ?? (await cache.trust.prove(cacheKey));
    if (now === undefined || proof === undefined) return await this.#readStore(asked);
    if (entry.version > proof.maxVersion) return await this.#miss(asked, 'absent', undefined);
    if (now === 'missing') return await this.#miss(asked, 'changed', entry.version);
    const decoded = await this.#currency.decoded(asked, entry, now);
    if (decoded.ok) return this.#hit(asked, entry, decoded.value);
    const { reason } = decoded;
    return await this.#miss(asked, reason === 'later-shape' ? 'shape' : reason, entry.version);
  }

  /** One round trip; who asks for the same tag in this turn shares its answer. */
  #together(keys: readonly string[]): Promise<Answer[]> {
    const { cache, codec } = this.#context;
    const reads = cache.reads(codec.serializer.encoding);
    const answers = new Array<Answer>(keys.length);
    let left = keys.length;
    return new Promise((resolve) => {
      for (let i = 0; i < keys.length; i++) {
        reads.add(keys[i] as string, (answer) => {
          answers[i] = answer;
          left--;
          if (left === 0) resolve(answers);
        });
      }
    });
  }

  /** The tags' tokens; `missing`: there is none of one of them; `undefined`: they are not to be believed now. */
  async #now(
    { tags }: Asked<Params>,
    found: readonly (CacheHit | undefined)[],
  ): Promise<Tokens | 'missing' | undefined> {
    const { generations } = this.#context;
    const generation = generations.of(tags) ?? (await generations.prove(tags));
    if (generation === undefined) return undefined;
    const tokens: string[] = [];
    for (const hit of found) {
      const token = tokenOf(hit);
      if (token === undefined) return 'missing';
      tokens.push(token);
    }
    return { generation, tokens };
  }

  #hit({ key, startedAtMs }: Asked<Params>, { version }: CacheHit, value: Value): Value {
    const { clock, events, settings } = this.#context;
    if (events.hit.wanted) {
      const durationMs = clock.monotonic() - startedAtMs;
      events.hit.emit({ collection: settings.name, key, version, stale: false, durationMs });
    }
    return value;
  }

  async #miss(
    asked: Asked<Params>,
    reason: LockstepEventMap['miss']['reason'],
    unusable: Version | undefined,
  ): Promise<Value> {
    this.missed(asked, reason);
    return await this.#context.activity.track(this.#misses.read(asked, unusable));
  }

  /** The cache can't be reached, can't be believed, or is switched off. */
  async #readStore(asked: Asked<Params>, reason: 'unavailable' | 'off' = 'unavailable'): Promise<Value> {
    const { activity, cache } = this.#context;
    this.missed(asked, reason);
    cache.trust.due();
    return await activity.track(this.#loader.load(asked));
  }

  missed({ key, startedAtMs }: Asked<Params>, reason: LockstepEventMap['miss']['reason']): void {
    const { clock, events, settings } = this.#context;
    if (!events.miss.wanted) return;
    const durationMs = clock.monotonic() - startedAtMs;
    events.miss.emit({ collection: settings.name, key, reason, durationMs });
  }
}

function isError(answer: Answer): boolean {
  return answer instanceof Error;
}
