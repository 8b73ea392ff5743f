import type { Clock } from '@lockstep/core';
import type { Knex } from 'knex';
import { isConnectionLoss, isLate, isStalePlan, isStampedTooEarly, isTransient } from '../errors.js';
import { microsSql, SET_SAFE_PATH, SETTING_DEADLINE, SETTING_STAMPED } from '../sql/stamp.js';
import { noteTransient } from '../transaction-handle.js';
import { type Deadline, Exchange, type ExchangeOptions, lenderOf } from './exchange.js';
import { type Call, type Row, statement } from './pipeline.js';
import { ServerClock } from './server-clock.js';

export interface SendOptions extends ExchangeOptions {
  /** Reads run once more when the connection breaks: a pooled one may have died unnoticed. */
  readonly readOnly: boolean;
  readonly prepared: boolean;
  /** The source whose rows the statement stamps and records by itself. */
  readonly stamps?: string;
  /** When the server refuses the write, in ms since the epoch by its clock. */
  readonly notAfterMs?: number | undefined;
}

/** Quick ones at first: most are over as soon as the other transaction is. */
const MAX_TRIES = 12;
const SET_TIMEOUT = `SELECT pg_catalog.set_config('statement_timeout', $1, true), pg_catalog.set_config('${SETTING_STAMPED}', $2, true)`;
const setTimeoutPrepared = statement(SET_TIMEOUT);
const safePath = statement(`SELECT ${SET_SAFE_PATH}`, false);
const setTimeoutUnprepared = statement(SET_TIMEOUT, false);
const SET_DEADLINE = `${SET_TIMEOUT}, pg_catalog.set_config('${SETTING_DEADLINE}', $3, true), ${microsSql()} AS "#now"`;
const setDeadlinePrepared = statement(SET_DEADLINE);
const setDeadlineUnprepared = statement(SET_DEADLINE, false);

/** Sends pipelines over knex's own pool, each bounded by a time-out here and on the server. */
export class Session {
  readonly #knex: Knex;
  readonly #clock: Clock;
  readonly serverClock: ServerClock;

  constructor(knex: Knex, clock: Clock) {
    this.#knex = knex;
    this.#clock = clock;
    this.serverClock = new ServerClock(clock, (timeoutMs) => this.#askClock(timeoutMs));
  }

  deadline(timeoutMs: number): Deadline {
    return { at: this.#clock.monotonic() + timeoutMs, timeoutMs };
  }

  /**
   * Runs the calls as one transaction in one round trip. Deadlocks and serialization failures run it
   * again within the deadline; a stamp that came too early is the caller's to raise. Throws what pg threw, or an error of Lockstep.
   */
  async send(calls: readonly Call[], options: SendOptions): Promise<Row[][]> {
    let sentAtMs = 0;
    const all = (leftMs: number): Call[] => {
      sentAtMs = this.#clock.monotonic();
      return [timeout(leftMs, options), ...calls];
    };
    for (let attempt = 1; ; attempt++) {
      options.signal?.throwIfAborted();
      try {
        const results = await new Exchange(lenderOf(this.#knex), this.#clock, all, options).done;
        const [settings] = results.shift() ?? [];
        if (options.notAfterMs !== undefined)
          this.serverClock.sample(sentAtMs, Number(settings?.meta['#now']));
        return results;
      } catch (error) {
        if (isLate(error)) this.serverClock.forget();
        if (isStampedTooEarly(error) || attempt === MAX_TRIES) throw error;
        const again = isTransient(error) || isStalePlan(error);
        if (!again && !(options.readOnly && attempt === 1 && isConnectionLoss(error))) throw error;
      }
      await this.#backOff(attempt, options);
    }
  }

  /**
   * One statement of Lockstep's own that may run twice, its rows under their columns' names. It may not fire the
   * user's triggers: its `search_path` is not theirs. Throws `StoreTimeoutError`, and what `send` throws.
   */
  async rows(
    text: string,
    values: readonly string[],
    timeoutMs: number,
    what: string,
  ): Promise<Record<string, unknown>[]> {
    const calls = [
      { statement: safePath, values: [] },
      { statement: statement(text, false), values },
    ];
    const [, rows = []] = await this.send(calls, {
      deadline: this.deadline(timeoutMs),
      what,
      readOnly: true,
      prepared: false,
    });
    return rows.map(({ value }) => value);
  }

  /** Runs the calls inside a transaction, whose own settings bound each statement. */
  async sendIn(trx: Knex.Transaction, calls: readonly Call[], options: SendOptions): Promise<Row[][]> {
    try {
      return await new Exchange(lenderOf(trx), this.#clock, () => calls, options).done;
    } catch (error) {
      if (isTransient(error)) noteTransient(trx, error);
      throw error;
    }
  }

  async #askClock(timeoutMs: number): Promise<void> {
    // What a write sets tells the clock.
    await this.send([], {
      deadline: this.deadline(timeoutMs),
      what: "the server's clock",
      readOnly: true,
      prepared: false,
      notAfterMs: 0,
    });
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

function timeout(leftMs: number, { notAfterMs, prepared, stamps = '' }: SendOptions): Call {
  // A little before our own timer, so that the server's clean answer comes first.
  const serverMs = Math.max(1, Math.floor(leftMs - Math.min(50, leftMs / 10)));
  if (notAfterMs !== undefined) {
    return {
      statement: prepared ? setDeadlinePrepared : setDeadlineUnprepared,
      values: [String(serverMs), stamps, String(Math.floor(notAfterMs * 1_000))],
    };
  }
  return {
    statement: prepared ? setTimeoutPrepared : setTimeoutUnprepared,
    values: [String(serverMs), stamps],
  };
}
