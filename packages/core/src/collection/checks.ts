import type { CallOptions } from '../contracts/options.js';
import type { StoreAdapter } from '../contracts/store.js';
import { isVersion, type Version } from '../contracts/version.js';
import {
  InvalidIdError,
  InvalidOptionError,
  messageOf,
  StoreTimeoutError,
  UnsupportedError,
} from '../errors.js';
import { numberOption } from '../kit/options.js';
import { withSignal, withTimeout } from '../kit/wait.js';
import { checkKey } from '../protocol/key.js';
import type { EngineContext } from '../runtime/context.js';
import { type CollectionSettings, MAX_TTL_MS } from './settings.js';

const MAX_TIMEOUT_MS = 24 * 3_600_000;

/** Checks what callers pass: a wrong call touches nothing. */
export class Checks<Id> {
  readonly #settings: CollectionSettings;
  readonly #store: StoreAdapter<unknown, Id>;
  readonly #context: EngineContext;

  constructor(settings: CollectionSettings, store: StoreAdapter<unknown, Id>, context: EngineContext) {
    this.#settings = settings;
    this.#store = store;
    this.#context = context;
  }

  /** The canonical key of an id. Throws `InvalidIdError`. */
  key(id: Id): string {
    const { name } = this.#settings;
    let key: string;
    try {
      key = this.#store.keyOf(id);
    } catch (error) {
      if (error instanceof InvalidIdError) throw error;
      const message = `collection "${name}": ${messageOf(error)}`;
      throw new InvalidIdError(message, { cause: error, collection: name });
    }
    checkKey(key, name);
    return key;
  }

  /** Throws for a condition that is none, or that the store can't check. */
  condition(ifVersion: Version | null): void {
    if (!this.#store.capabilities.compareAndSet) throw this.unsupported('ifVersion');
    if (ifVersion !== null && !isVersion(ifVersion)) {
      const problem = `must be a version or null, got ${String(ifVersion)}`;
      throw new InvalidOptionError('options.ifVersion', problem);
    }
  }

  ttl(options: { readonly ttlMs?: number }): number {
    return numberOption(options.ttlMs, this.#settings.ttlMs, 'options.ttlMs', { min: 1, max: MAX_TTL_MS });
  }

  timeout(timeoutMs: number | undefined): number {
    const { storeTimeoutMs } = this.#settings;
    return numberOption(timeoutMs, storeTimeoutMs, 'options.timeoutMs', { min: 1, max: MAX_TIMEOUT_MS });
  }

  /** Starts the call once its bounds are known to be right, and waits for it within them. */
  bounded<T>(start: () => Promise<T>, { signal, timeoutMs }: CallOptions): Promise<T> {
    if (timeoutMs === undefined) return withSignal(start(), signal);
    const ms = this.timeout(timeoutMs);
    const { name } = this.#settings;
    const late = (): Error =>
      new StoreTimeoutError(`collection "${name}": no answer within ${ms} ms`, { collection: name });
    return withSignal(withTimeout(this.#context.clock, start(), ms, late), signal);
  }

  unsupported(what: string): UnsupportedError {
    const { name } = this.#settings;
    return new UnsupportedError(`collection "${name}": ${this.#store.name} has no ${what}`, {
      collection: name,
    });
  }
}
