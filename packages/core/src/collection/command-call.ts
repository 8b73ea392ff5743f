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

type Context<Value> = Pick<CallContext<Value, unknown>, 'activity' | 'codec' | 'settings'>;

/**
 * One write of a call. Its answer is told to it, so that no promise is made on the way but the caller's own. It
 * counts from its first moment, so that `close` waits for it.
 */
export abstract class CommandCall<Value, Id, Given> implements Caller<StoreWrite<Value>, Answer<Value>> {
  readonly id: Id;
  readonly options: WriteOptions;
  readonly known: OptionTable;
  readonly writeOf: WriteOf<Value, Given>;
  key: string | undefined = undefined;
  /** The write, once it is made. */
  request!: StoreWrite<Value>;
  readonly #context: Context<Value>;

  constructor(
    context: Context<Value>,
    id: Id,
    options: WriteOptions,
    known: OptionTable,
    writeOf: WriteOf<Value, Given>,
  ) {
    this.id = id;
    this.options = options;
    this.known = known;
    this.writeOf = writeOf;
    this.#context = context;
    context.activity.enter();
  }

  protected abstract told(result: WriteResult<Value> | Promise<WriteResult<Value>>): void;

  protected abstract failed(error: unknown): void;

  resolve(answer: Answer<Value>): void {
    const { activity, codec, settings } = this.#context;
    try {
      const result = commandResult(settings.name, this.request.command, answer);
      this.told(codec.hasSchema ? seen(codec, result) : result);
      activity.leave();
    } catch (error) {
      this.reject(error);
    }
  }

  reject(error: unknown): void {
    const { activity, settings } = this.#context;
    this.failed(concerning(error, { collection: settings.name, key: this.key }));
    activity.leave();
  }
}

/** The one write of a call. */
export class OneCommandCall<Value, Id, Given> extends CommandCall<Value, Id, Given> {
  readonly promise: Promise<WriteResult<Value>>;
  readonly #resolve: (result: WriteResult<Value> | Promise<WriteResult<Value>>) => void;
  readonly #reject: (error: unknown) => void;

  constructor(
    context: Context<Value>,
    id: Id,
    options: WriteOptions,
    known: OptionTable,
    writeOf: WriteOf<Value, Given>,
  ) {
    super(context, id, options, known, writeOf);
    const { promise, reject, resolve } = Promise.withResolvers<WriteResult<Value>>();
    this.promise = promise;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  protected override told(result: WriteResult<Value> | Promise<WriteResult<Value>>): void {
    this.#resolve(result);
  }

  protected override failed(error: unknown): void {
    this.#reject(error);
  }
}
