import type { WriteResult } from '../contracts/api.js';
import type { ResultReceiver } from './command-call.js';

type Settled<Value> = PromiseSettledResult<WriteResult<Value>>;

/** The results of a call that writes many rows, which its caller waits for together: one promise for all. */
export class ManyResults<Value> {
  readonly promise: Promise<readonly Settled<Value>[]>;
  readonly #results: Settled<Value>[];
  readonly #resolve: (results: readonly Settled<Value>[]) => void;
  #missing: number;

  constructor(count: number) {
    const { promise, resolve } = Promise.withResolvers<readonly Settled<Value>[]>();
    this.promise = promise;
    this.#resolve = resolve;
    this.#results = new Array<Settled<Value>>(count);
    this.#missing = count;
    if (count === 0) resolve(this.#results);
  }

  settle(place: number, result: Settled<Value>): void {
    this.#results[place] = result;
    this.#missing -= 1;
    if (this.#missing === 0) this.#resolve(this.#results);
  }
}

/** The place of one row among many results. */
export class PlaceOfMany<Value> implements ResultReceiver<Value> {
  readonly #many: ManyResults<Value>;
  readonly #place: number;

  constructor(many: ManyResults<Value>, place: number) {
    this.#many = many;
    this.#place = place;
  }

  resolve(result: WriteResult<Value> | Promise<WriteResult<Value>>): void {
    if (result instanceof Promise) {
      result.then(
        (value) => this.resolve(value),
        (error: unknown) => this.reject(error),
      );
    } else this.#many.settle(this.#place, { status: 'fulfilled', value: result });
  }

  reject(reason: unknown): void {
    this.#many.settle(this.#place, { status: 'rejected', reason });
  }
}
