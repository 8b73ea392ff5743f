import type { CacheCommand, CacheReply } from '../../src/contracts/cache-commands.js';
import type { SimCache } from './sim-cache.js';
import { type Application, type ApplicationParts, engine } from './world.js';

/** It reads from the cache although that is switched off. */
export function readsOn(parts: ApplicationParts): Application {
  return { ...engine(parts), toggle: () => undefined };
}

/** Switched off, it leaves the cache alone, and what is cached as it was. */
export function leavesAlone(parts: ApplicationParts): Application {
  const { adapter } = parts.cache;
  const execute = async (commands: readonly CacheCommand[]): Promise<readonly (CacheReply | Error)[]> => {
    if (made.lockstep?.enabled !== false) return await adapter.execute(commands);
    const sent = commands.filter(({ kind }) => kind !== 'invalidate');
    const replies = [...(await adapter.execute(sent))];
    return commands.map((command) =>
      command.kind === 'invalidate'
        ? { kind: 'invalidate', outcome: 'floored' }
        : (replies.shift() as CacheReply),
    );
  };
  const cache = { ...parts.cache, adapter: { ...adapter, execute } } as unknown as SimCache;
  const made = engine({ ...parts, cache });
  return made;
}
