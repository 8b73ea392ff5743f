import type { CallOptions } from '../contracts/options.js';
import type { RowPatch } from '../contracts/store.js';
import {
  InvalidIdError,
  InvalidOptionError,
  messageOf,
  StoreTimeoutError,
  UnsupportedError,
} from '../errors.js';
import { concerning } from '../kit/concerning.js';
import { checkOptions, type OptionTable } from '../kit/options.js';
import { Deadline } from '../kit/wait.js';
import { checkKey } from '../protocol/key.js';
import { isProperties } from '../values/difference.js';
import type { CollectionContext } from './context.js';

/** Checks what callers pass: a wrong call touches nothing. */
export class Checks<Id> {
  /** Nothing can be written. */
  readonly readOnly: boolean;
  readonly #context: CollectionContext<unknown>;

  constructor(context: CollectionContext<unknown>) {
    this.#context = context;
    this.readOnly = context.store.capabilities.readOnly === true;
  }

  /** The canonical key of an id. Throws `InvalidIdError`. */
  key(id: Id): string {
    const { name } = this.#context.settings;
    let key: string;
    try {
      key = this.#context.store.keyOf(id as never);
    } catch (error) {
      if (error instanceof InvalidIdError) throw concerning(error, { collection: name });
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
    if (!this.#context.store.capabilities.compareAndSet) throw this.unsupported('ifVersion');
  }

  ttl(options: { readonly ttlMs?: number }): number {
    return options.ttlMs ?? this.#context.settings.ttlMs;
  }

  /** Waits for the call within its bounds. */
  bounded<T>(start: () => Promise<T>, { signal, timeoutMs }: CallOptions, key?: string): Promise<T> {
    if (timeoutMs === undefined && signal === undefined) return start();
    const { name } = this.#context.settings;
    const late = (): Error =>
      new StoreTimeoutError(`collection "${name}": no answer within ${timeoutMs} ms`, {
        collection: name,
        key,
      });
    const { clock } = this.#context;
    return new Deadline({ clock, timeoutMs: timeoutMs ?? Infinity, signal, late }).bound(start());
  }

  /** The refusal of a write where nothing can be written. */
  get notWritable(): UnsupportedError {
    return this.unsupported('functions that write: it is read-only');
  }

  unsupported(what: string): UnsupportedError {
    const { name } = this.#context.settings;
    return new UnsupportedError(`collection "${name}": ${this.#context.store.name} has no ${what}`, {
      collection: name,
    });
  }
}

/** The properties that a patch sets. Throws `InvalidOptionError`. */
export function patchSet<Value>(
  partial: RowPatch<Value>,
  concerns: { readonly collection: string; readonly key: string },
): RowPatch<Value> {
  if (!isProperties(partial)) {
    throw new InvalidOptionError('partial', 'must be an object of the properties to set', concerns);
  }
  const set = Object.entries(partial).filter(([, value]) => value !== undefined);
  if (set.length > 0) return Object.fromEntries(set) as RowPatch<Value>;
  throw new InvalidOptionError('partial', 'must set at least one property', concerns);
}

export function checkFunction(given: unknown, name: string): void {
  if (typeof given !== 'function') throw new InvalidOptionError(name, 'must be a function');
}

/** The entries of a call that writes many rows. Throws `InvalidOptionError` for the first that is none. */
export function entriesOf<Entry extends readonly [unknown, unknown]>(given: Iterable<Entry>): Entry[] {
  const entries = [...given];
  const wrong = entries.findIndex((entry: unknown) => !Array.isArray(entry));
  if (wrong >= 0) throw new InvalidOptionError(`entries[${wrong}]`, 'must be [id, value]');
  return entries;
}

/** Throws `InvalidOptionError`, or the signal's reason where it has aborted. */
export function checkCall(options: CallOptions, table: OptionTable): void {
  checkOptions(options, table, 'options');
  options.signal?.throwIfAborted();
}
