import { isDeepStrictEqual } from 'node:util';
import type { Collection, Lockstep, ThroughRecord } from '../contracts/api.js';
import type { Clock } from '../contracts/clock.js';
import type { CallbackContext, ThroughOptions } from '../contracts/options.js';
import type { Serializer } from '../contracts/serializer.js';
import { InvalidOptionError, StoreUnavailableError } from '../errors.js';
import { type OptionsOf, option, withDefaults } from '../kit/options.js';
import { asStoreError } from '../read/loader.js';
import { callbacks } from '../stores/callback-store.js';
import { copyOf } from '../values/copy.js';
import { NAME, SERIALIZER, TTL } from './settings.js';

type Reader = NonNullable<ThroughOptions<unknown>['reader']>;
type Writer = NonNullable<ThroughOptions<unknown>['writer']>;

interface Namespace {
  readonly collection: Collection<unknown>;
  readonly serializer: string;
  readonly reads: UnderWay<Reader>;
  readonly writes: UnderWay<Write>;
}

interface Write {
  readonly value: unknown;
  readonly writer: Writer;
  sent: boolean;
}

/** Namespaces live as long as the Lockstep: an id does not belong into their names. */
const MAX_NAMESPACES = 1_000;

export const THROUGH = {
  namespace: option.required(NAME),
  // Checked with each call, as any other id.
  id: option.is<string>('a string', () => true),
  reader: option.callback<Reader>(),
  writer: option.callback<Writer>(),
  ttlMs: TTL,
  serialize: SERIALIZER,
} satisfies OptionsOf<ThroughOptions<unknown>>;

/**
 * One-off reads and writes: each namespace is a collection over a callback store, whose functions are those of the
 * calls that are under way.
 */
export class ThroughCalls {
  readonly #lockstep: Pick<Lockstep, 'collection'>;
  readonly #clock: Clock;
  readonly #namespaces = new Map<string, Namespace>();

  constructor(lockstep: Pick<Lockstep, 'collection'>, clock: Clock) {
    this.#lockstep = lockstep;
    this.#clock = clock;
  }

  record<Value>(options: ThroughOptions<Value>): ThroughRecord<Value> {
    withDefaults(options, THROUGH, 'through');
    const { id, namespace: name, reader, serialize, ttlMs, writer } = options as ThroughOptions<unknown>;
    const { collection, reads, writes } = this.#namespace(name, serialize);
    const callOptions = ttlMs === undefined ? {} : { ttlMs };
    return {
      read: async () => {
        if (reader === undefined) throw new InvalidOptionError('through.reader', 'must be a function');
        const value = await reads.during(id, reader, () => collection.get(id, callOptions));
        return value as Value | undefined;
      },
      write: async (value) => {
        if (writer === undefined) throw new InvalidOptionError('through.writer', 'must be a function');
        const own = copyOf(value);
        const put = () => collection.put(id, own, callOptions);
        return { ...(await writes.during(id, { value: own, writer, sent: false }, put)), value };
      },
      invalidate: () => collection.invalidate(id),
    };
  }

  #namespace(name: string, serializer: Serializer | undefined): Namespace {
    const known = this.#namespaces.get(name);
    if (known !== undefined) {
      if (serializer === undefined || serializer.name === known.serializer) return known;
      const problem = `namespace "${name}" already uses serializer "${known.serializer}"`;
      throw new InvalidOptionError('through.serialize', problem);
    }
    if (this.#namespaces.size >= MAX_NAMESPACES) {
      throw new InvalidOptionError('through.namespace', `more than ${MAX_NAMESPACES}: put the id into "id"`);
    }
    const reads: Namespace['reads'] = new UnderWay();
    const writes: Namespace['writes'] = new UnderWay();
    const store = callbacks<unknown>(
      {
        name: `through:${name}`,
        read: (id, context) => reads.run(id, (reader) => reader(id, context)),
        write: async (id, value, context) => {
          const next = (write: Write): boolean => !write.sent && isDeepStrictEqual(write.value, value);
          await writes.run(id, (write) => send(write, id, context), next);
        },
      },
      this.#clock,
    );
    const collection = this.#lockstep.collection({
      name,
      store,
      // Each write is its caller's own function.
      batch: { coalesce: false },
      ...(serializer === undefined ? {} : { serializer }),
    });
    const made = { collection, serializer: serializer?.name ?? 'json', reads, writes };
    this.#namespaces.set(name, made);
    return made;
  }
}

/** The calls under way, by id. What their functions throw reaches the callers as it is. */
class UnderWay<Call> {
  readonly #calls = new Map<string, Call[]>();
  readonly #wrapped = new WeakSet<object>();

  async during<T>(id: string, call: Call, work: () => Promise<T>): Promise<T> {
    const calls = this.#calls.get(id) ?? [];
    this.#calls.set(id, calls);
    calls.push(call);
    try {
      return await work();
    } catch (error) {
      throw this.#wrapped.has(error as object) ? (error as Error).cause : error;
    } finally {
      calls.splice(calls.indexOf(call), 1);
      if (calls.length === 0) this.#calls.delete(id);
    }
  }

  /** Runs the function of the first call that fits. */
  async run<T>(
    id: string,
    run: (call: Call) => Promise<T>,
    fits: (call: Call) => boolean = () => true,
  ): Promise<T> {
    const call = this.#calls.get(id)?.find(fits);
    if (call === undefined) {
      throw new StoreUnavailableError(`through: no call of "${id}" is under way`, 'not-committed');
    }
    try {
      return await run(call);
    } catch (error) {
      const known = asStoreError(error, id, 'unknown');
      if (known !== error) this.#wrapped.add(known);
      throw known;
    }
  }
}

/** A write that failed may be sent again. */
async function send(write: Write, id: string, context: CallbackContext): Promise<void> {
  write.sent = true;
  try {
    await write.writer(id, write.value, context);
  } catch (error) {
    write.sent = false;
    throw error;
  }
}
