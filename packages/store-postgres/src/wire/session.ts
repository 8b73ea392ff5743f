import { type Clock, StoreTimeoutError, StoreUnavailableError } from '@lockstep/core';
import type { Knex } from 'knex';
import { isConnectionLoss, isStalePlan, isStampedTooEarly, isTransient, storeError } from '../errors.js';
import { SETTING_STAMPED } from '../sql/stamp.js';
import { noteTransient } from '../transaction-handle.js';
import { type Call, forgetPrepared, Pipeline, type Row, statement, type WireClient } from './pipeline.js';

/** A pooled connection; knex drops it instead of lending it again once it is marked. */
type PooledClient = WireClient & { __knex__disposed?: unknown };

/** The part of knex's client that lends connections. */
interface Lender {
  acquireConnection(): Promise<PooledClient>;
  releaseConnection(connection: PooledClient): Promise<void>;
}

export function lenderOf(knex: Knex): Lender {
  return knex.client as Lender;
}

/** When a call must be over, by the process's monotonic clock. */
export interface Deadline {
  readonly at: number;
  readonly timeoutMs: number;
}

export interface SendOptions {
  readonly deadline: Deadline;
  readonly signal?: AbortSignal | undefined;
  /** For messages. */
  readonly what: string;
  /** Reads run once more when the connection breaks: a pooled one may have died unnoticed. */
  readonly readOnly: boolean;
  readonly prepared: boolean;
  /** The source whose rows the statement stamps and records by itself. */
  readonly stamps?: string;
}

/** Quick ones at first: most are over as soon as the other transaction is. */
const MAX_TRIES = 12;
const SET_TIMEOUT = `SELECT pg_catalog.set_config('statement_timeout', $1, true), pg_catalog.set_config('${SETTING_STAMPED}', $2, true)`;
const setTimeoutPrepared = statement(SET_TIMEOUT);
const setTimeoutUnprepared = statement(SET_TIMEOUT, false);

/** Sends pipelines over knex's own pool, each bounded by a time-out here and on the server. */
export class Session {
  readonly #knex: Knex;
  readonly #clock: Clock;

  constructor(knex: Knex, clock: Clock) {
    this.#knex = knex;
    this.#clock = clock;
  }

  deadline(timeoutMs: number): Deadline {
    return { at: this.#clock.monotonic() + timeoutMs, timeoutMs };
  }

  /**
   * Runs the calls as one transaction in one round trip. Deadlocks and serialization failures run it
   * again within the deadline; a stamp that came too early is the caller's to raise. Throws what pg threw, or an error of Lockstep.
   */
  async send(calls: readonly Call[], options: SendOptions): Promise<Row[][]> {
    for (let attempt = 1; ; attempt++) {
      options.signal?.throwIfAborted();
      const client = await this.#acquire(options);
      try {
        const results = await this.#exchange(client, this.#withTimeout(calls, options), options);
        return results.slice(1);
      } catch (error) {
        if (isStalePlan(error)) forgetPrepared(client);
        else if (isStampedTooEarly(error)) throw error;
        else if (!isTransient(error) && !(options.readOnly && attempt === 1 && isConnectionLoss(error)))
          throw error;
        if (attempt === MAX_TRIES) throw error;
      } finally {
        void lenderOf(this.#knex).releaseConnection(client);
      }
      await this.#backOff(attempt, options);
    }
  }

  /** Runs the calls inside a transaction, whose own settings bound each statement. */
  async sendIn(trx: Knex.Transaction, calls: readonly Call[], options: SendOptions): Promise<Row[][]> {
    const client = await lenderOf(trx).acquireConnection();
    try {
      return await this.#exchange(client, calls, options);
    } catch (error) {
      if (isTransient(error)) noteTransient(trx, error);
      throw error;
    }
  }

  #withTimeout(calls: readonly Call[], { deadline, prepared, stamps = '' }: SendOptions): Call[] {
    const left = deadline.at - this.#clock.monotonic();
    // A little before our own timer, so that the server's clean answer comes first.
    const serverMs = Math.max(1, Math.floor(left - Math.min(50, left / 10)));
    return [
      { statement: prepared ? setTimeoutPrepared : setTimeoutUnprepared, values: [String(serverMs), stamps] },
      ...calls,
    ];
  }

  async #exchange(client: PooledClient, calls: readonly Call[], options: SendOptions): Promise<Row[][]> {
    const pipeline = new Pipeline(client, calls);
    const left = options.deadline.at - this.#clock.monotonic();
    const stop = this.#clock.schedule(
      () => {
        // What was sent can't be taken back; a connection with an answer under way can't be lent again.
        const error = new StoreTimeoutError(
          `${options.what}: no answer within ${options.deadline.timeoutMs} ms`,
        );
        client.__knex__disposed = error;
        client.connection.stream.destroy();
        pipeline.handleError(error, client.connection);
      },
      Math.max(0, left),
    );
    try {
      client.query(pipeline);
      return await pipeline.done;
    } finally {
      stop();
    }
  }

  async #acquire(options: SendOptions): Promise<PooledClient> {
    const lender = lenderOf(this.#knex);
    const { what, deadline, signal } = options;
    const pending = lender.acquireConnection();
    const { promise: bound, reject } = Promise.withResolvers<never>();
    const stop = this.#clock.schedule(
      () =>
        reject(
          new StoreUnavailableError(
            `${what}: no connection became free within ${deadline.timeoutMs} ms`,
            'not-committed',
          ),
        ),
      Math.max(0, deadline.at - this.#clock.monotonic()),
    );
    const abort = (): void => reject(signal?.reason);
    signal?.addEventListener('abort', abort, { once: true });
    try {
      return await Promise.race([pending, bound]);
    } catch (error) {
      // Whoever waited is gone; a connection that still arrives goes back.
      pending.then((client) => lender.releaseConnection(client)).catch(() => undefined);
      throw signal?.aborted ? error : storeError(error, what, false);
    } finally {
      stop();
      signal?.removeEventListener('abort', abort);
    }
  }

  async #backOff(attempt: number, { deadline, signal }: SendOptions): Promise<void> {
    const waitMs = Math.random() * Math.min(250, 2 ** attempt);
    if (this.#clock.monotonic() + waitMs >= deadline.at) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const stop = this.#clock.schedule(resolve, waitMs);
    signal?.addEventListener('abort', () => resolve(), { once: true });
    await promise;
    stop();
  }
}
