import type { CacheAdapter } from '../../src/contracts/cache.js';
import type { ConsumerRegistry } from '../../src/contracts/registry.js';
import { StoreUnavailableError } from '../../src/errors.js';
import type { Scheduler } from './scheduler.js';
import type { SimCache } from './sim-cache.js';

/** A primary of a cache, and its identity. */
export interface Side {
  readonly identity: string;
  readonly cache: SimCache;
}

/** The cache as a process reaches it: whichever primary its connections lead to at that moment. */
export function adapterOf(side: () => Side): CacheAdapter {
  const { adapter } = side().cache;
  return {
    ...adapter,
    read: (keys, encoding) => side().cache.adapter.read(keys, encoding),
    execute: (commands) => side().cache.adapter.execute(commands),
    info: async () => {
      const { identity } = side();
      return { ...(await adapter.info()), generation: identity };
    },
    async *scan(prefix) {
      const { cache } = side();
      for (const [key, entry] of [...cache.entries]) {
        if (!key.startsWith(prefix) || entry === undefined || entry.kind === 'foreign') continue;
        const value = entry.kind === 'value';
        const version = value ? entry.version : entry.floor;
        yield { key, version, state: entry.kind, payload: value ? entry.payload : null };
      }
    },
  };
}

/** A registry across a network that delays and loses. */
export function overNetwork(
  registry: ConsumerRegistry,
  scheduler: Scheduler,
  faulty: () => boolean,
): ConsumerRegistry {
  const call = async <T>(effect: () => Promise<T>): Promise<T> => {
    await scheduler.deliver();
    if (faulty()) throw new StoreUnavailableError('the registry is away', 'not-committed');
    const answer = await effect();
    await scheduler.deliver();
    if (faulty()) throw new StoreUnavailableError('the reply was lost', 'unknown');
    return answer;
  };
  return {
    register: (consumer, collections) => call(() => registry.register(consumer, collections)),
    consumers: (sources) => call(() => registry.consumers(sources)),
    forget: (consumer, sources) => call(() => registry.forget(consumer, sources)),
    end: (consumer, sources) => call(() => registry.end(consumer, sources)),
    switch: (consumer, off) => call(() => registry.switch(consumer, off)),
    read: (consumer, sources) => call(() => registry.read(consumer, sources)),
    observe: (consumer, sources, identity) => call(() => registry.observe(consumer, sources, identity)),
    lease: (consumer, epochs, holder, leaseMs) =>
      call(() => registry.lease(consumer, epochs, holder, leaseMs)),
    replayed: (consumer, epochs, holder) => call(() => registry.replayed(consumer, epochs, holder)),
    release: (consumer, holder) => call(() => registry.release(consumer, holder)),
  };
}
