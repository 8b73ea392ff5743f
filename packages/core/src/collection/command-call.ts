import type { WriteResult } from '../contracts/api.js';
import type { WriteOptions } from '../contracts/options.js';
import { concerning } from '../kit/concerning.js';
import type { OptionTable } from '../kit/options.js';
import type { StoreWrite } from '../write/commands.js';
import type { Caller } from '../write/pending-write.js';
import type { Answer } from '../write/store-commit.js';
import type { CallContext } from './call-context.js';
import { commandResult, seen } from './results.js';

/** What a command's call asks of the store, by its key and what its caller gave. */
export type WriteOf<Value, Given> = (
  key: string,
  own: Given,
  options: WriteOptions,
) => StoreWrite<Value> | Promise<StoreWrite<Value>>;

/** Whoever waits for a write's result: a promise's resolvers, or a place among the results of many writes. */
export interface Told<Value> {
  resolve(result: WriteResult<Value> | Promise<WriteResult<Value>>): void;
  reject(error: unknown): void;
}

type Context<Value> = Pick<CallContext<Value, unknown>, 'activity' | 'codec' | 'settings'>;

/**
 * One write of a call. Its answer is told to it, so that no promise is made on the way but the caller's own. It
 * counts from its first moment, so that `close` waits for it.
 */
export class CommandCall<Value, Id, Given> implements Caller<StoreWrite<Value>, Answer<Value>> {
  readonly id: Id;
  readonly options: WriteOptions;
  readonly known: OptionTable;
  readonly writeOf: WriteOf<Value, Given>;
  key: string | undefined = undefined;
  /** The write, once it is made. */
  request!: StoreWrite<Value>;
  readonly #context: Context<Value>;
  readonly #told: Told<Value>;

  constructor(
    context: Context<Value>,
    id: Id,
    options: WriteOptions,
    known: OptionTable,
    writeOf: WriteOf<Value, Given>,
    told: Told<Value>,
  ) {
    this.id = id;
    this.options = options;
    this.known = known;
    this.writeOf = writeOf;
    this.#context = context;
    this.#told = told;
    context.activity.enter();
  }

  resolve(answer: Answer<Value>): void {
    const { activity, codec, settings } = this.#context;
    try {
      const result = commandResult(settings.name, this.request.command, answer);
      this.#told.resolve(codec.hasSchema ? seen(codec, result) : result);
      activity.leave();
    } catch (error) {
      this.reject(error);
    }
  }

  reject(error: unknown): void {
    const { activity, settings } = this.#context;
    this.#told.reject(concerning(error, { collection: settings.name, key: this.key }));
    activity.leave();
  }
}
