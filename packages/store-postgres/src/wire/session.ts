import type { Clock } from '@lockstep/core';
import { Backoff, type Deadline } from '@lockstep/core/kit';
import type { Knex } from 'knex';
import {
  isConnectionLoss,
  isLate,
  isReadOnlyServer,
  isRefusal,
  isStalePlan,
  isStampedTooEarly,
  isTransient,
} from '../errors.js';
import { microsSql, SET_SAFE_PATH, SETTING_DEADLINE, SETTING_STAMPED } from '../sql/stamp.js';
import { storeDeadline } from './deadline.js';
import { type ExchangeOptions, exchange, READ_ONLY } from './exchange.js';
import { lenderOf, type PooledClient } from './lender.js';
import { IS_READ_ONLY } from './outlived.js';
import { bare, type Call, type PipelineCallback, type Row, statement } from './pipeline.js';
import { ServerClock } from './server-clock.js';

export interface SendOptions extends ExchangeOptions {
  /** Reads run once more when the connection breaks: a pooled one may have died unnoticed. */
  readonly readOnly: boolean;
  readonly prepared: boolean;
  /** The source whose rows the statement stamps and records by itself. */
  readonly stamps?: string;
  /** No trigger of the user's runs, so that the planner can be told to use the keys' indexes whatever it thinks. */
  readonly byKey?: boolean;
  /** When the server refuses the write, in ms since the epoch by its clock. */
  readonly notAfterMs?: number | undefined;
}

const MAX_TRIES = 12;
/** Quick ones at first: most are over as soon as the other transaction is. */
const BETWEEN_TRIES = { firstMs: 2, lastMs: 250, jitter: 1 };
const SET_TIMEOUT = `SELECT pg_catalog.set_config('statement_timeout', $1, true), pg_catalog.set_config('${SETTING_STAMPED}', $2, true)`;
const SET_DEADLINE = `${SET_TIMEOUT}, pg_catalog.set_config('${SETTING_DEADLINE}', $3, true), ${microsSql()} AS "#now"`;
/** A plan that was made while the table was all but empty must not become a scan of a full one. */
const usingKeys = (text: string): string => `${text}, pg_catalog.set_config('enable_seqscan', 'off', true)`;
/** A read changes nothing, so that a server that is no primary would answer it: with what it had. */
const asRead = (text: string): string => `${text}, ${IS_READ_ONLY} AS "${READ_ONLY}"`;
const both = (text: string) => ({ prepared: statement(text), unprepared: statement(text, false) });
const variants = (text: string) => ({ plain: both(text), byKey: both(usingKeys(text)) });
const SETTINGS = {
  write: { timeout: variants(SET_TIMEOUT), deadline: variants(SET_DEADLINE) },
  read: { timeout: variants(asRead(SET_TIMEOUT)), deadline: variants(asRead(SET_DEADLINE)) },
} as const;
const safePath = statement(`SELECT ${SET_SAFE_PATH}`, false);

const GUARD = [
  bare('SAVEPOINT lockstep'),
  bare('RELEASE SAVEPOINT lockstep'),
  bare('ROLLBACK TO SAVEPOINT lockstep'),
] as const;

/** How many servers that are no primaries one call leaves for others. */
const MAX_SERVERS_LEFT = 2;

/** Sends pipelines over knex's own pool, each bounded by a time-out here and on the server. */
export class Session {
  readonly #knex: Knex;
  readonly #clock: Clock;
  readonly serverClock: ServerClock;
  readonly #replica: boolean;
  /** One of the connections: all parse alike. */
  #client: PooledClient | undefined;

  /** `replica`: its server may be read-only. */
  constructor(knex: Knex, clock: Clock, replica = false) {
    this.#knex = knex;
    this.#clock = clock;
    this.serverClock = new ServerClock(clock, (timeoutMs) => this.#askClock(timeoutMs));
    this.#replica = replica;
  }

  /** How this process parses a type's text. After the first `rows`. */
  parserOf(oid: number): (text: string) => unknown {
    return this.#client?.getTypeParser(oid, 'text') ?? String;
  }

  deadline(timeoutMs: number): Deadline {
    return storeDeadline(this.#clock, timeoutMs, `no answer within ${timeoutMs} ms`);
  }

  /**
   * Runs the calls as one transaction in one round trip. Deadlocks and serialization failures run it
   * again within the deadline, and so does a server that is no primary any more, on another connection; a stamp that
   * came too early is the caller's to raise. Throws what pg threw, or an error of Lockstep.
   */
  send(calls: readonly Call[], options: SendOptions): Promise<Row[][]> {
    return new Promise((resolve, reject) => {
      options.signal?.throwIfAborted();
      this.#try(calls, options, (error, results) => {
        if (results === undefined) this.#again(calls, options, error).then(resolve, reject);
        else resolve(results);
      });
    });
  }

  #try(calls: readonly Call[], options: SendOptions, ended: PipelineCallback): void {
    let sentAtMs = 0;
    const all = (): Call[] => {
      sentAtMs = this.#clock.monotonic();
      return [this.#settings(options), ...calls];
    };
    exchange(lenderOf(this.#knex), all, options, (error, results) => {
      const [settings] = results?.shift() ?? [];
      if (results !== undefined && options.notAfterMs !== undefined)
        this.serverClock.sample(sentAtMs, Number(settings?.meta['#now']));
      ended(error, results);
    });
  }

  /** The tries behind a first one that has failed. */
  async #again(calls: readonly Call[], options: SendOptions, first: unknown): Promise<Row[][]> {
    const backoff = new Backoff(BETWEEN_TRIES);
    let serversLeft = 0;
    let error = first;
    for (let attempt = 1; ; attempt++) {
      if (isLate(error)) this.serverClock.forget();
      if (isStampedTooEarly(error) || attempt === MAX_TRIES) throw error;
      const elsewhere = isReadOnlyServer(error) && ++serversLeft <= MAX_SERVERS_LEFT;
      const again = elsewhere || isTransient(error) || isStalePlan(error);
      if (!again && !(options.readOnly && attempt === 1 && isConnectionLoss(error))) throw error;
      // Without time for the pause the next try says so, or is just in time.
      await backoff.waitWithin(options.deadline, options.signal);
      options.signal?.throwIfAborted();
      const { promise, resolve } = Promise.withResolvers<Row[][] | undefined>();
      this.#try(calls, options, (failure, results) => {
        error = failure;
        resolve(results);
      });
      const results = await promise;
      if (results !== undefined) return results;
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
      lent: (client) => {
        this.#client = client;
      },
    });
    return rows.map(({ value }) => value);
  }

  /** Runs the calls inside a transaction, whose own settings bound each statement. */
  sendIn(trx: Knex.Transaction, calls: readonly Call[], options: SendOptions): Promise<Row[][]> {
    return new Promise((resolve, reject) => {
      exchange(
        lenderOf(trx),
        () => calls,
        options,
        (error, results) => (results === undefined ? reject(error) : resolve(results)),
      );
    });
  }

  /** As {@link sendIn}; a refused statement leaves the transaction as it was before. */
  async sendGuarded(trx: Knex.Transaction, calls: readonly Call[], options: SendOptions): Promise<Row[][]> {
    const [savepoint, release, rollback] = GUARD;
    try {
      return (await this.sendIn(trx, [savepoint, ...calls, release], options)).slice(1, -1);
    } catch (error) {
      if (isRefusal(error)) await this.sendIn(trx, [rollback], options);
      throw error;
    }
  }

  async #askClock(timeoutMs: number): Promise<void> {
    // The answer to a write's settings tells the server's clock.
    await this.send([], {
      deadline: this.deadline(timeoutMs),
      what: "the server's clock",
      readOnly: true,
      prepared: false,
      notAfterMs: 0,
    });
  }

  #settings({
    byKey,
    deadline: { serverMs },
    notAfterMs,
    prepared,
    readOnly,
    stamps = '',
  }: SendOptions): Call {
    const { deadline, timeout } = SETTINGS[readOnly && !this.#replica ? 'read' : 'write'];
    const values = [String(serverMs), stamps];
    if (notAfterMs !== undefined) values.push(String(Math.floor(notAfterMs * 1_000)));
    const { prepared: named, unprepared } = (notAfterMs === undefined ? timeout : deadline)[
      byKey === true ? 'byKey' : 'plain'
    ];
    return { statement: prepared ? named : unprepared, values };
  }
}
