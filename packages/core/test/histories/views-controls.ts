import { vi } from 'vitest';
import type { CacheAdapter } from '../../src/contracts/cache.js';
import { type Tokens, ViewCodec } from '../../src/views/entry.js';
import { TagTokens } from '../../src/views/tag-tokens.js';
import { type Control, missingIsLast, restoring } from './grouped-world.js';
import type { ViewsWorldOptions } from './views-world.js';

/** Entries get the tokens that their tags have once they are loaded. */
function tokensAfterTheLoad(): Disposable {
  const keysOf = new WeakMap<Tokens, readonly string[]>();
  const ask = TagTokens.prototype.askUnder;
  const encode = ViewCodec.prototype.encode;
  const asking = vi.spyOn(TagTokens.prototype, 'askUnder').mockImplementation(async function (
    this: TagTokens<unknown, unknown>,
    generation,
    keys,
  ) {
    const tokens = await ask.call(this, generation, keys);
    if (tokens !== undefined) {
      keysOf.set(tokens, keys);
      later.set(tokens, () => ask.call(this, generation, keys));
    }
    return tokens;
  });
  const later = new WeakMap<Tokens, () => Promise<Tokens | undefined>>();
  const encoding = vi.spyOn(ViewCodec.prototype, 'encode').mockImplementation(async function (
    this: ViewCodec<unknown>,
    before,
    ...rest
  ) {
    return await encode.call(this, (await later.get(before)?.()) ?? before, ...rest);
  });
  return restoring(asking, encoding);
}

/** Every question for a tag's token comes twice, the second time whenever it likes. */
export function repeatsTags(cache: CacheAdapter): CacheAdapter {
  return {
    ...cache,
    execute(commands) {
      const tags = commands.filter(({ kind }) => kind === 'tag');
      cache.execute(tags).catch(() => undefined);
      return cache.execute(commands);
    },
  };
}

/** Rules of views. */
export const VIEWS_CONTROLS: readonly Control<ViewsWorldOptions>[] = [
  {
    name: 'tokens are read after the load',
    world: () => ({}),
    change: tokensAfterTheLoad,
  },
  {
    name: "only the tags of a row's new values are replaced",
    world: () => ({
      storeOf: (store) => ({
        ...store,
        async write(commands, options) {
          const outcomes = await store.write(commands, options);
          return outcomes.map((outcome) =>
            outcome.kind === 'written' ? { ...outcome, texts: outcome.texts?.slice(-1) } : outcome,
          );
        },
      }),
    }),
  },
  {
    name: 'a missing tag counts as unchanged',
    world: () => ({ cacheOf: missingIsLast((key) => key.includes('%t:')) }),
  },
  {
    name: 'views are loaded from a replica that lags',
    world: () => ({ replica: true }),
  },
];
