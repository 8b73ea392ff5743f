import type { WriteResult } from '../contracts/api.js';
import type { CreateOptions } from '../contracts/options.js';
import type { StorePut, StoreRow } from '../contracts/store.js';
import { InvalidOptionError, StoreContractError, UnsupportedError } from '../errors.js';
import { concerning } from '../kit/concerning.js';
import { checkKey } from '../protocol/key.js';
import { asStoreError } from '../read/loader.js';
import { copyOf } from '../values/copy.js';
import type { StoreWrite } from '../write/commands.js';
import type { Answer } from '../write/store-commit.js';
import type { CallContext } from './call-context.js';
import { CREATE } from './call-options.js';
import { checkCall } from './checks.js';
import { NewRowDraws } from './new-rows.js';
import { commandResult, seen } from './results.js';
import { withinStoreTime } from './store-time.js';

/** The key in messages about a row that has none yet. */
const NEW = '(new)';

/** The steps that a created row takes as any other. */
export interface CreationSteps<Value> {
  /** A put of a row where there is none. Rejects with `ValidationError`, `SerializationError`. */
  readonly putOf: (
    key: string,
    value: Value,
    options: CreateOptions,
  ) => StoreWrite<Value> | Promise<StoreWrite<Value>>;
  readonly submit: (write: StoreWrite<Value>, options: CreateOptions) => Promise<Answer<Value>>;
  readonly result: (
    write: StoreWrite<Value>,
    answer: Answer<Value>,
  ) => WriteResult<Value> | Promise<WriteResult<Value>>;
}

/** The call `create`: the store makes the key, and from then on the row is written as any other. */
export class Creation<Value> {
  readonly #context: CallContext<Value, never>;
  readonly #steps: CreationSteps<Value>;
  readonly #draws: NewRowDraws<Value>;

  constructor(context: CallContext<Value, never>, steps: CreationSteps<Value>) {
    this.#context = context;
    this.#steps = steps;
    this.#draws = new NewRowDraws(context);
  }

  /** @param value taken as it is now */
  async create(value: Partial<Value>, options: CreateOptions): Promise<WriteResult<Value>> {
    const { activity, checks, opening, settings } = this.#context;
    activity.enter();
    const giveUp = new AbortController();
    try {
      const own = copyOf(value) as Value;
      if (!opening.opened) await opening.open();
      this.#check(own, options);
      // A write that was sent goes on when its caller has given up.
      return await checks.bounded(() => activity.track(this.#create(own, options, giveUp.signal)), options);
    } catch (error) {
      throw concerning(error, { collection: settings.name });
    } finally {
      giveUp.abort();
      activity.leave();
    }
  }

  #check(value: Value, options: CreateOptions): void {
    const { checks, lifecycle, opening, settings, store } = this.#context;
    if (lifecycle.closed) opening.checkOpen();
    if (checks.readOnly) throw checks.notWritable;
    checkCall(options, CREATE);
    const { name: collection } = settings;
    if (!store.capabilities.create) throw checks.unsupported('keys of its own making (create)');
    if (store.newRows === undefined && settings.consistency === 'strict') {
      const message = `collection "${collection}": create() in a strict collection needs a store that makes keys before it inserts`;
      throw new UnsupportedError(message, { collection });
    }
    if (value === undefined || value === null) {
      throw new InvalidOptionError('value', `must not be ${String(value)}`, { collection });
    }
  }

  async #create(value: Value, options: CreateOptions, givenUp: AbortSignal): Promise<WriteResult<Value>> {
    const { putOf, result, submit } = this.#steps;
    if (this.#context.store.newRows === undefined) return await this.#insert(value, options);
    const row = await this.#draws.draw(value, options.tx);
    const { key } = row;
    try {
      const { command, ...put } = await putOf(key, row.value, options);
      const write = { ...put, command: { ...(command as StorePut<Value>), drawn: true } };
      givenUp.throwIfAborted();
      return await result(write, await submit(write, options));
    } catch (error) {
      throw concerning(error, { collection: this.#context.settings.name, key });
    }
  }

  /** For a store that tells the key only once the row is there. */
  async #insert(value: Value, options: CreateOptions): Promise<WriteResult<Value>> {
    const { checks, clock, codec, settings, writes } = this.#context;
    if (options.tx !== undefined) throw checks.unsupported('transactions (options.tx)');
    const valid = await codec.validate(value, NEW);
    codec.measure(valid, NEW);
    const startedAt = clock.monotonic();
    const row = await this.#inserted(valid);
    checkKey(row.key, settings.name);
    const storeMs = clock.monotonic() - startedAt;
    const answer = await writes.inserted(row, checks.ttl(options), storeMs);
    return await seen(codec, commandResult(settings.name, answer.command, answer));
  }

  async #inserted(value: Value): Promise<StoreRow<Value>> {
    const { settings, store } = this.#context;
    try {
      const inserting = store.insert?.(value, { timeoutMs: settings.storeTimeoutMs });
      const row = await withinStoreTime(this.#context, Promise.resolve(inserting));
      if (row !== undefined) return row;
      throw new StoreContractError(`${store.name}: an insert gave no row`, { collection: settings.name });
    } catch (error) {
      throw asStoreError(error, settings.name, 'unknown');
    }
  }
}
