import { withinCacheTime } from '../cache/cache-time.js';
import type { EngineContext } from './context.js';

/** How soon a cache is asked again. */
const RETRY_MS = 5_000;

/**
 * Warns, once, of a cache that evicts intents. A cache that can't be asked now is asked again: it may be away when the
 * first collection opens.
 */
export function evictionWarning(
  context: () => EngineContext,
  timeoutMs: number,
): EngineContext['warnIfEvicting'] {
  let asked = false;
  return async function warnIfEvicting(collection, why) {
    const { adapter, cache, clock, lifecycle } = context();
    if (asked || lifecycle.closed) return;
    asked = true;
    const asking = cache.open().then(() => adapter.info());
    const info = await withinCacheTime(clock, asking, timeoutMs).catch(() => undefined);
    if (info === undefined) {
      asked = false;
      clock.schedule(() => void warnIfEvicting(collection, why), RETRY_MS);
      return;
    }
    if (info.evicts !== true) return;
    process.emitWarning(
      `collection "${collection}" ${why}, but the cache (${info.description}) evicts entries before they expire: ` +
        'an evicted intent lets readers see an older version. Use maxmemory-policy noeviction.',
      { type: 'LockstepWarning', code: 'LOCKSTEP_STRICT_EVICTION' },
    );
  };
}
