import type { DeleteOptions, PatchOptions, PutOptions, WriteOptions } from '../contracts/options.js';
import type { StorePatch } from '../contracts/store.js';
import { NO_VERSION } from '../contracts/version.js';
import { InvalidOptionError } from '../errors.js';
import { type Amount, isAmount } from '../kit/decimal.js';
import { type Difference, differenceOf, isProperties } from '../values/difference.js';
import { BlindPut, Increment, StoreWrite } from '../write/commands.js';
import type { CallContext } from './call-context.js';

/** Makes of each call what it asks of the store. Throws for what no store could take: nothing was sent then. */
export class Commands<Value> {
  readonly #context: CallContext<Value, unknown>;

  constructor(context: CallContext<Value, unknown>) {
    this.#context = context;
  }

  /**
   * The value as it will be written, if it can be encoded; a promise only where the schema validates asynchronously,
   * so that a caller's writes of one key keep their order. Throws `ValidationError`, `InvalidOptionError`.
   */
  put(key: string, value: Value, options: PutOptions): StoreWrite<Value> | Promise<StoreWrite<Value>> {
    const { checks, codec, settings } = this.#context;
    if (options.ifVersion !== undefined) checks.condition();
    if (value === undefined || value === null) {
      const problem = `must not be ${String(value)}; use delete()`;
      throw new InvalidOptionError('value', problem, { collection: settings.name, key });
    }
    const valid = codec.validate(value, key);
    return valid instanceof Promise
      ? valid.then((late) => this.#putOf(key, late, options))
      : this.#putOf(key, valid, options);
  }

  #putOf(key: string, valid: Value, { ifVersion, ttlMs }: PutOptions): StoreWrite<Value> {
    const { codec, settings } = this.#context;
    const put = new BlindPut(key, valid, NO_VERSION);
    const command = ifVersion === undefined ? put : { ...put, ifVersion };
    return new StoreWrite(command, codec.measure(valid, key), ttlMs ?? settings.ttlMs);
  }

  patch(
    key: string,
    patch: Pick<StorePatch<Value>, 'set' | 'unset'>,
    { ifVersion, ttlMs = this.#context.settings.ttlMs }: PatchOptions,
  ): StoreWrite<Value> {
    const { checks, codec } = this.#context;
    if (ifVersion !== undefined) checks.condition();
    const command = { kind: 'patch', key, ...patch, above: NO_VERSION } as const;
    const bytes = codec.measure(patch.set as Value, key);
    return new StoreWrite(ifVersion === undefined ? command : { ...command, ifVersion }, bytes, ttlMs);
  }

  delete(key: string, { ifVersion, ttlMs = this.#context.settings.ttlMs }: DeleteOptions): StoreWrite<Value> {
    if (ifVersion !== undefined) this.#context.checks.condition();
    const command = { kind: 'delete', key, above: NO_VERSION } as const;
    return new StoreWrite(ifVersion === undefined ? command : { ...command, ifVersion }, 0, ttlMs);
  }

  increment(
    key: string,
    field: string,
    by: Amount,
    { ttlMs = this.#context.settings.ttlMs }: WriteOptions,
  ): StoreWrite<Value> {
    const { checks, settings, store } = this.#context;
    if (!store.capabilities.increment) throw checks.unsupported('increment');
    const concerns = { collection: settings.name, key };
    if (typeof field !== 'string' || field === '') {
      throw new InvalidOptionError('field', 'must name a field', concerns);
    }
    if (!isAmount(by)) {
      const problem = `must be a finite number, a bigint or a decimal text, got ${String(by)}`;
      throw new InvalidOptionError('by', problem, concerns);
    }
    return new StoreWrite<Value>(new Increment(key, field, by, NO_VERSION), 0, ttlMs);
  }

  /** `undefined`: the row is to be put whole. Rejects with `ValidationError`. */
  async difference(key: string, before: Value, after: Value): Promise<Difference<Value> | undefined> {
    const { codec, store } = this.#context;
    if (!isProperties(before) || !isProperties(after)) return undefined;
    const difference = differenceOf<Value>(before, (await codec.validate(after, key)) as Value & object);
    const added = Object.keys(difference.set).filter((property) => before[property] === undefined);
    // A new property with a dot in its name would be a path.
    if (added.some((property) => property.includes('.'))) return undefined;
    const same = Object.keys(difference.set).length === 0 && difference.unset.length === 0;
    return store.capabilities.patch === true || same ? difference : undefined;
  }
}
