import type { CallOptions } from '../contracts/options.js';
import type { StoreAdapter } from '../contracts/store.js';
import { InvalidIdError, messageOf, StoreTimeoutError, UnsupportedError } from '../errors.js';
import { Deadline } from '../kit/wait.js';
import { checkKey } from '../protocol/key.js';
import type { EngineContext } from '../runtime/context.js';
import type { CollectionSettings } from './settings.js';

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

  /** The keys of a list of ids, or the one of a composite id that is a list. Throws `InvalidIdError`. */
  keys(list: Id & readonly Id[]): string[] {
    try {
      return list.map((id) => this.key(id));
    } catch (noList) {
      try {
        return [this.key(list)];
      } catch {
        throw noList;
      }
    }
  }

  /** Throws for a condition that the store can't check. */
  condition(): void {
    if (!this.#store.capabilities.compareAndSet) throw this.unsupported('ifVersion');
  }

  ttl(options: { readonly ttlMs?: number }): number {
    return options.ttlMs ?? this.#settings.ttlMs;
  }

  /** Waits for the call within its bounds. */
  bounded<T>(start: () => Promise<T>, { signal, timeoutMs }: CallOptions): Promise<T> {
    if (timeoutMs === undefined && signal === undefined) return start();
    const { name } = this.#settings;
    const late = (): Error =>
      new StoreTimeoutError(`collection "${name}": no answer within ${timeoutMs} ms`, { collection: name });
    const { clock } = this.#context;
    return new Deadline({ clock, timeoutMs: timeoutMs ?? Infinity, signal, late }).bound(start());
  }

  unsupported(what: string): UnsupportedError {
    const { name } = this.#settings;
    return new UnsupportedError(`collection "${name}": ${this.#store.name} has no ${what}`, {
      collection: name,
    });
  }
}
