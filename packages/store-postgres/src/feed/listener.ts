import type { Clock } from '@lockstep/core';
import { Backoff } from '@lockstep/core/kit';
import type { Knex } from 'knex';
import { ReadOnlyServerError } from '../errors.js';
import { CHANNEL } from '../sql/stamp.js';
import { IS_READ_ONLY } from '../wire/outlived.js';
import { feedDeadline } from './too-long.js';

/** A connection of pg outside knex's pool. */
interface RawConnection {
  readonly connection: { readonly stream: { destroy(): void } };
  query<Row>(sql: string): Promise<{ readonly rows: readonly Row[] }>;
  on(event: 'notification' | 'end' | 'error', listener: () => void): unknown;
  end(): Promise<void>;
}

interface Connector {
  acquireRawConnection(): Promise<RawConnection>;
}

/**
 * Wakes consumers when a foreign writer commits. A connection of its own, for as long as somebody
 * waits; it comes back by itself, and polling is the floor while it is away. It asks again and again: a
 * server that vanished does not say so, and who only listens would never know.
 */
export class Listener {
  readonly #knex: Knex;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #waiters = new Set<() => void>();
  #users = 0;
  #connection: RawConnection | undefined;
  readonly #backoff = new Backoff({ firstMs: 100, lastMs: 10_000 });
  #connecting = false;

  /** `timeoutMs` bounds each answer, and is how often one is asked for. */
  constructor(knex: Knex, clock: Clock, timeoutMs: number) {
    this.#knex = knex;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  /** Listens until the answer is called. */
  use(): () => void {
    this.#users++;
    void this.#connect();
    let released = false;
    return () => {
      if (released) return;
      released = true;
      this.#users--;
      if (this.#users === 0) this.#disconnect();
    };
  }

  /** Calls back once, at the next notification. */
  onNext(wake: () => void): () => void {
    this.#waiters.add(wake);
    return () => this.#waiters.delete(wake);
  }

  async #connect(): Promise<void> {
    if (this.#connecting || this.#connection !== undefined || this.#users === 0) return;
    this.#connecting = true;
    try {
      // However long it takes: it can't be called off, and must not pile up.
      const connection = await (this.#knex.client as Connector).acquireRawConnection();
      const lost = (): void => {
        if (this.#connection !== connection) return;
        this.#connection = undefined;
        connection.connection.stream.destroy();
        this.#later();
      };
      connection.on('notification', () => this.#wake());
      connection.on('end', lost);
      connection.on('error', lost);
      await this.#listen(connection).catch((error: unknown) => {
        connection.connection.stream.destroy();
        throw error;
      });
      this.#connection = connection;
      this.#backoff.reset();
      this.#askAgain(connection, lost);
      // Something may have been notified while nobody listened.
      this.#wake();
    } catch {
      this.#later();
    } finally {
      this.#connecting = false;
    }
    if (this.#users === 0) this.#disconnect();
  }

  async #listen(connection: RawConnection): Promise<void> {
    const ask = async (): Promise<void> => {
      const { rows } = await connection.query<{ readOnly: boolean }>(`SELECT ${IS_READ_ONLY} AS "readOnly"`);
      // Nobody writes there any more.
      if (rows[0]?.readOnly === true) throw new ReadOnlyServerError('feed: LISTEN');
      await connection.query(`LISTEN ${CHANNEL}`);
    };
    await feedDeadline(this.#clock, 'LISTEN', this.#timeoutMs).bound(ask());
  }

  #askAgain(connection: RawConnection, lost: () => void): void {
    this.#clock.schedule(() => {
      if (this.#connection !== connection) return;
      this.#listen(connection).then(() => this.#askAgain(connection, lost), lost);
    }, this.#timeoutMs);
  }

  #later(): void {
    if (this.#users === 0) return;
    this.#clock.schedule(() => void this.#connect(), this.#backoff.nextMs());
  }

  #disconnect(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    if (connection === undefined) return;
    const stop = this.#clock.schedule(() => connection.connection.stream.destroy(), this.#timeoutMs);
    connection.end().then(stop, stop);
  }

  #wake(): void {
    for (const wake of [...this.#waiters]) wake();
  }
}
