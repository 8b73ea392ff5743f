import type { ThroughRecord } from '../contracts/api.js';
import type { Clock } from '../contracts/clock.js';
import type { CallbackContext, CollectionOptions, ThroughOptions } from '../contracts/options.js';
import type { Serializer, StoreAdapter } from '../contracts/store.js';
import { NO_VERSION } from '../contracts/version.js';
import { InvalidOptionError, StoreTimeoutError } from '../errors.js';
import { type OptionsOf, option, withDefaults } from '../kit/options.js';
import { withTimeout } from '../kit/wait.js';
import type { CollectionEngine } from './collection.js';
import { DEFAULT_STORE_TIMEOUT_MS, NAME, SERIALIZER, TTL } from './settings.js';

/** What `through` needs of a Lockstep. */
export interface ThroughHost {
  declare<Value, Id, Tx>(options: CollectionOptions<Value, Id, Tx>): CollectionEngine<Value, Id, Tx>;
}

type Namespace = CollectionEngine<unknown, string, unknown>;

/** Namespaces live as long as the Lockstep: an id does not belong into their names. */
const MAX_NAMESPACES = 1_000;

type AnyThrough = ThroughOptions<unknown>;

export const THROUGH = {
  namespace: option.required(NAME),
  // The id is checked with the call, as any other's.
  id: option.is<string>('a string', () => true),
  reader: option.callback<NonNullable<AnyThrough['reader']>>(),
  writer: option.callback<NonNullable<AnyThrough['writer']>>(),
  ttlMs: TTL,
  serialize: SERIALIZER,
} satisfies OptionsOf<AnyThrough>;

/**
 * One-off reads and writes: each namespace is a collection over an unversioned store, whose reads and
 * writes are the functions that the call brings.
 */
export class ThroughCalls {
  readonly #host: ThroughHost;
  readonly #clock: Clock;
  readonly #namespaces = new Map<string, Namespace>();

  constructor(host: ThroughHost, clock: Clock) {
    this.#host = host;
    this.#clock = clock;
  }

  record<Value>(options: ThroughOptions<Value>): ThroughRecord<Value> {
    const { ttlMs } = withDefaults(options, THROUGH, 'through');
    const { id, reader, writer } = options;
    const namespace = this.#namespace(options.namespace, options.serialize);
    const callOptions = { ttlMs };
    return {
      read: async () => {
        if (typeof reader !== 'function')
          throw new InvalidOptionError('through.reader', 'must be a function');
        const value = await namespace.readBy(id, callOptions, async (key) => {
          const found = await this.#bounded(id, (context) => reader(id, context));
          return found === undefined || found === null
            ? undefined
            : { key, value: found, version: NO_VERSION };
        });
        return value as Value | undefined;
      },
      write: async (value) => {
        if (typeof writer !== 'function')
          throw new InvalidOptionError('through.writer', 'must be a function');
        const write = (): Promise<unknown> => this.#bounded(id, (context) => writer(id, value, context));
        return { ...(await namespace.writeBy(id, value, callOptions, write)), value };
      },
      invalidate: () => namespace.invalidate(id),
    };
  }

  #bounded<T>(key: string, call: (context: CallbackContext) => Promise<T>): Promise<T> {
    const ending = new AbortController();
    const late = (): Error => {
      const error = new StoreTimeoutError(`no answer within ${DEFAULT_STORE_TIMEOUT_MS} ms`, { key });
      ending.abort(error);
      return error;
    };
    return withTimeout(this.#clock, call({ signal: ending.signal }), DEFAULT_STORE_TIMEOUT_MS, late);
  }

  #namespace(name: string, serializer: Serializer | undefined): Namespace {
    const known = this.#namespaces.get(name);
    if (known !== undefined) {
      const { name: first } = known.codec.serializer;
      if (serializer === undefined || serializer.name === first) return known;
      throw new InvalidOptionError(
        'through.serialize',
        `namespace "${name}" already uses serializer "${first}"`,
      );
    }
    if (this.#namespaces.size >= MAX_NAMESPACES) {
      throw new InvalidOptionError('through.namespace', `more than ${MAX_NAMESPACES}: put the id into "id"`);
    }
    const made = this.#host.declare<unknown, string, unknown>({
      name,
      store: callersStore(name),
      ...(serializer === undefined ? {} : { serializer }),
    });
    this.#namespaces.set(name, made);
    return made;
  }
}

/** A store without versions that has nothing of its own: each call brings its function. */
function callersStore(namespace: string): StoreAdapter<unknown, string> {
  const unused = async (): Promise<never> => {
    throw new InvalidOptionError(
      'through',
      `namespace "${namespace}" is read and written by its callers only`,
    );
  };
  return {
    name: `through:${namespace}`,
    source: namespace,
    capabilities: {
      versioned: false,
      compareAndSet: false,
      transactions: false,
      changeFeed: false,
      increment: false,
      restamp: false,
      flush: false,
      replicaReads: false,
      batching: false,
    },
    keyOf: (id) => id,
    read: unused,
    write: unused,
    close: async () => undefined,
  };
}
