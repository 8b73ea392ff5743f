import { StoreTimeoutError, StoreUnavailableError } from '@lockstep/core';
import type { Deadline } from '@lockstep/core/kit';
import { isReadOnlyServer, isStalePlan, ReadOnlyServerError, storeError } from '../errors.js';
import type { Lender, PooledClient } from './lender.js';
import { isUnfit, outlive } from './outlived.js';
import {
  type Call,
  forgetPrepared,
  Pipeline,
  type PipelineCallback,
  type PipelineOptions,
  type Row,
} from './pipeline.js';

/** The column of a first statement that says whether the server is no primary. */
export const READ_ONLY = '#readOnly';

export interface ExchangeOptions extends PipelineOptions {
  readonly deadline: Deadline;
  /** Ends the wait for a connection; what was sent can't be taken back. */
  readonly signal?: AbortSignal | undefined;
  /** For messages. */
  readonly what: string;
  /** Told the connection. */
  readonly lent?: (client: PooledClient) => void;
}

/**
 * Sends the calls as one pipeline on a connection that is lent for it, all by one deadline. Written with callbacks, since
 * each promise on the way is felt by a writer that is alone.
 *
 * @param calls asked once there is a connection
 * @param ended told once the answers of the calls, or the error that pg threw, or one of Lockstep; must not throw
 */
export function exchange(
  lender: Lender,
  calls: () => readonly Call[],
  options: ExchangeOptions,
  ended: PipelineCallback,
): void {
  new Exchange(lender, calls, options, ended).borrow();
}

class Exchange {
  readonly #lender: Lender;
  readonly #calls: () => readonly Call[];
  readonly #options: ExchangeOptions;
  readonly #stop: () => void;
  readonly #ended: PipelineCallback;
  #client: PooledClient | undefined;
  #over = false;

  constructor(
    lender: Lender,
    calls: () => readonly Call[],
    options: ExchangeOptions,
    ended: PipelineCallback,
  ) {
    this.#lender = lender;
    this.#calls = calls;
    this.#options = options;
    this.#ended = ended;
    this.#stop = options.deadline.onOver(() => this.#late());
    options.signal?.addEventListener('abort', this.#aborted, { once: true });
  }

  borrow(): void {
    this.#lender.acquireConnection().then(
      (client) => {
        if (!isUnfit(this.#lender, client)) return this.#lent(client);
        this.#release(client);
        this.borrow();
      },
      (error: unknown) => this.#end(storeError(error, this.#options.what, false)),
    );
  }

  #lent(client: PooledClient): void {
    this.#options.signal?.removeEventListener('abort', this.#aborted);
    // A process that was stopped finds its timers late: nothing is sent after the deadline.
    if (!this.#over && this.#options.deadline.remainingMs === 0) this.#late();
    if (this.#over) {
      // Whoever waited is gone.
      this.#release(client);
      return;
    }
    this.#client = client;
    this.#options.lent?.(client);
    try {
      const answered = (error: unknown, results?: Row[][]): void => this.#answered(error, results);
      client.query(new Pipeline(client, this.#calls(), answered, this.#options));
    } catch (error) {
      this.#end(error);
    }
  }

  readonly #aborted = (): void => this.#end(this.#options.signal?.reason);

  #late(): void {
    const { what, deadline } = this.#options;
    const client = this.#client;
    if (client === undefined) {
      const message = `${what}: no connection became free within ${deadline.timeoutMs} ms`;
      this.#end(new StoreUnavailableError(message, 'not-committed'));
      return;
    }
    // Sent statements can't be taken back; a connection with an answer under way can't be lent again.
    const error = new StoreTimeoutError(`${what}: no answer within ${deadline.timeoutMs} ms`);
    client.__knex__disposed = error;
    client.connection.stream.destroy();
    this.#end(error);
  }

  #answered(error: unknown, results?: Row[][]): void {
    if (results?.[0]?.[0]?.meta[READ_ONLY] === true) this.#end(new ReadOnlyServerError(this.#options.what));
    else this.#end(error, results);
  }

  #end(error: unknown, results?: Row[][]): void {
    if (this.#over) return;
    this.#over = true;
    this.#stop();
    const client = this.#client;
    if (client !== undefined) {
      if (isStalePlan(error)) forgetPrepared(client);
      if (isReadOnlyServer(error)) outlive(this.#lender, client, error);
      this.#release(client);
    }
    this.#ended(error, results);
  }

  #release(client: PooledClient): void {
    void this.#lender.releaseConnection(client);
  }
}
