import { StoreTimeoutError } from '../errors.js';
import { withTimeout } from '../kit/wait.js';
import type { EngineContext } from './context.js';

/** How soon a cache is asked again. */
const RETRY_MS = 5_000;

/** Warns, once, of a cache that evicts intents. */
export class EvictionWarning {
  readonly #context: () => EngineContext;
  readonly #timeoutMs: number;
  #asked = false;

  constructor(context: () => EngineContext, timeoutMs: number) {
    this.#context = context;
    this.#timeoutMs = timeoutMs;
  }

  /** A cache that can't be asked now is asked again: it may be away when the first collection opens. */
  async warnIfEvicting(collection: string, why: string): Promise<void> {
    const { adapter, cache, clock, lifecycle } = this.#context();
    if (this.#asked || lifecycle.closed) return;
    this.#asked = true;
    const asking = cache.open().then(() => adapter.info());
    const late = (): Error => new StoreTimeoutError('the cache did not describe itself');
    const info = await withTimeout(clock, asking, this.#timeoutMs, late).catch(() => undefined);
    if (info === undefined) {
      this.#asked = false;
      clock.schedule(() => void this.warnIfEvicting(collection, why), RETRY_MS);
      return;
    }
    if (info.evicts !== true) return;
    process.emitWarning(
      `collection "${collection}" ${why}, but the cache (${info.description}) evicts entries before they expire: ` +
        'an evicted intent lets readers see an older version. Use maxmemory-policy noeviction.',
      { type: 'LockstepWarning', code: 'LOCKSTEP_STRICT_EVICTION' },
    );
  }
}
