import type { Clock } from '@lockstep/core';
import type { Knex } from 'knex';
import { CHANNEL } from '../sql/stamp.js';

/** A connection of pg outside knex's pool. */
interface RawConnection {
  query(sql: string): Promise<unknown>;
  on(event: 'notification' | 'end' | 'error', listener: () => void): unknown;
  end(): Promise<void>;
}

interface Connector {
  acquireRawConnection(): Promise<RawConnection>;
}

const RECONNECT_MAX_MS = 10_000;

/**
 * Wakes consumers when a foreign writer commits. A connection of its own, for as long as somebody
 * waits; it comes back by itself, and polling is the floor while it is away.
 */
export class Listener {
  readonly #knex: Knex;
  readonly #clock: Clock;
  readonly #waiters = new Set<() => void>();
  #users = 0;
  #connection: RawConnection | undefined;
  #failures = 0;
  #connecting = false;

  constructor(knex: Knex, clock: Clock) {
    this.#knex = knex;
    this.#clock = clock;
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
      if (this.#users === 0) void this.#disconnect();
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
      const connection = await (this.#knex.client as Connector).acquireRawConnection();
      let over = false;
      const lost = (): void => {
        if (over) return;
        over = true;
        if (this.#connection === connection) this.#connection = undefined;
        void connection.end().catch(() => undefined);
        this.#later();
      };
      connection.on('notification', () => this.#wake());
      connection.on('end', lost);
      connection.on('error', lost);
      await connection.query(`LISTEN ${CHANNEL}`);
      this.#connection = connection;
      this.#failures = 0;
      // What was notified while nobody listened.
      this.#wake();
    } catch {
      this.#later();
    } finally {
      this.#connecting = false;
    }
    if (this.#users === 0) await this.#disconnect();
  }

  #later(): void {
    if (this.#users === 0) return;
    const delayMs = Math.min(RECONNECT_MAX_MS, 100 * 2 ** Math.min(this.#failures++, 7));
    this.#clock.schedule(() => void this.#connect(), delayMs * (0.5 + Math.random() / 2));
  }

  async #disconnect(): Promise<void> {
    const connection = this.#connection;
    this.#connection = undefined;
    await connection?.end().catch(() => undefined);
  }

  #wake(): void {
    for (const wake of [...this.#waiters]) wake();
  }
}
