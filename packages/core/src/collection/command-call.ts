import type { WriteResult } from '../contracts/api.js';
import type { WriteOptions } from '../contracts/options.js';
import { concerning } from '../kit/concerning.js';
import type { OptionTable } from '../kit/options.js';
import type { StoreWrite } from '../write/commands.js';
import type { Caller } from '../write/pending-write.js';
import type { Answer } from '../write/store-commit.js';
import type { CallContext } from './call-context.js';
import { commandResult, seen } from './results.js';

/** Makes the write of a call from its key and its caller's argument. */
export type WriteOf<Value, Given> = (
  key: string,
  own: Given,
  options: WriteOptions,
) => StoreWrite<Value> | Promise<StoreWrite<Value>>;

/** The receiver of a write's result: a promise's resolvers, or a place among the results of many writes. */
export interface ResultReceiver<Value> {
  resolve(result: WriteResult<Value> | Promise<WriteResult<Value>>): void;
  reject(error: unknown): void;
}

type Context<Value> = Pick<CallContext<Value, unknown>, 'activity' | 'codec' | 'settings'>;

/**
 * One write of a call, and the receiver of its answer: no promise is made on the way but the caller's own. It counts
 * as under way from its first moment, so that `close` waits for it.
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
  readonly #receiver: ResultReceiver<Value>;

  constructor(
    context: Context<Value>,
    id: Id,
    options: WriteOptions,
    known: OptionTable,
    writeOf: WriteOf<Value, Given>,
    receiver: ResultReceiver<Value>,
  ) {
    this.id = id;
    this.options = options;
    this.known = known;
    this.writeOf = writeOf;
    this.#context = context;
    this.#receiver = receiver;
    context.activity.enter();
  }

  resolve(answer: Answer<Value>): void {
    const { activity, codec, settings } = this.#context;
    try {
      const result = commandResult(settings.name, this.request.command, answer);
      this.#receiver.resolve(codec.hasSchema ? seen(codec, result) : result);
      activity.leave();
    } catch (error) {
      this.reject(error);
    }
  }

  reject(error: unknown): void {
    const { activity, settings } = this.#context;
    this.#receiver.reject(concerning(error, { collection: settings.name, key: this.key }));
    activity.leave();
  }
}
