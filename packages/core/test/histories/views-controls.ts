import { vi } from 'vitest';
import type { CacheHit } from '../../src/contracts/cache-commands.js';
import { applyCommand } from '../../src/protocol/transitions.js';
import { Currency } from '../../src/views/current.js';
import { type Tokens, ViewCodec } from '../../src/views/entry.js';
import type { ViewsWorldOptions } from './views-world.js';

/** One rule of views taken out, and the world in which that must show. */
export interface ViewsControl {
  readonly name: string;
  /** Made anew for each history. */
  readonly world: () => Omit<ViewsWorldOptions, 'seed'>;
  /** Changes the engine itself, until it is disposed. */
  readonly change?: () => Disposable;
}

/** Entries get the tokens that their tags have once they are loaded. */
function tokensAfterTheLoad(): Disposable {
  const keysOf = new WeakMap<Tokens, readonly string[]>();
  const ask = Currency.prototype.askUnder;
  const encode = ViewCodec.prototype.encode;
  const asking = vi.spyOn(Currency.prototype, 'askUnder').mockImplementation(async function (
    this: Currency<unknown, unknown>,
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
  return {
    [Symbol.dispose]() {
      asking.mockRestore();
      encoding.mockRestore();
    },
  };
}

export const VIEWS_CONTROLS: readonly ViewsControl[] = [
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
    world: () => {
      const last = new Map<string, CacheHit>();
      return {
        cacheOf: (cache) => ({
          ...cache,
          async read(keys, encoding) {
            const hits = await cache.read(keys, encoding);
            return hits.map((hit, i) => {
              const key = keys[i] as string;
              if (!key.includes('%t:') || hit instanceof Error) return hit;
              if (hit !== undefined) last.set(key, hit);
              return hit ?? last.get(key);
            });
          },
        }),
      };
    },
  },
  {
    name: 'views are loaded from a replica that lags',
    world: () => ({ replica: true }),
  },
  {
    name: 'a command that comes twice makes one token',
    world: () => ({
      faults: 0.1,
      apply: (entry, command, nowMs) => {
        const { entry: after, reply } = applyCommand(entry, command, nowMs);
        if (command.kind !== 'tag' || after?.kind !== 'value' || reply.kind !== 'tag')
          return { entry: after, reply };
        const token = reply.token?.split('@')[0];
        return { entry: { ...after, payload: token ?? null }, reply: { ...reply, token } };
      },
    }),
  },
];
