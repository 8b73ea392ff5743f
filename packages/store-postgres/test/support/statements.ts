import { createRequire } from 'node:module';
import { afterAll, beforeAll } from 'vitest';

export interface Call {
  readonly text: string;
  readonly values: readonly unknown[];
}

interface Connection {
  parse(message: { text: string; name: string }): void;
  bind(message: { statement: string; values: readonly unknown[] }): void;
}

/** The part of pg's client that is used. */
export interface Client {
  connect(): Promise<void>;
  end(): Promise<void>;
  on(event: 'error', listener: () => void): void;
  query<T>(query: string | { name: string; text: string; values: unknown[] }): Promise<{ rows: T[] }>;
}

const { Client: PgClient, Connection: PgConnection } = createRequire(import.meta.url)('pg') as {
  Client: new (url: string) => Client;
  Connection: { prototype: Connection };
};

/** Notes what a file's tests send to the server, on all connections. */
export class SentStatements {
  calls: Call[] = [];
  readonly #texts = new Map<string, string>();

  constructor() {
    const { prototype } = PgConnection;
    const { bind, parse } = prototype;
    beforeAll(() => {
      const sent = this;
      prototype.parse = function (message) {
        sent.#texts.set(message.name, message.text);
        parse.call(this, message);
      };
      prototype.bind = function (message) {
        sent.calls.push({ text: sent.#texts.get(message.statement) ?? '', values: message.values });
        bind.call(this, message);
      };
    });
    afterAll(() => {
      Object.assign(prototype, { bind, parse });
    });
  }
}

/** A connection of its own, with these settings. */
export async function connectTo(url: string, ...settings: readonly string[]): Promise<Client> {
  const client = new PgClient(url);
  // Left open by a test that failed.
  client.on('error', () => undefined);
  await client.connect();
  for (const setting of settings) await client.query(`SET ${setting}`);
  return client;
}

const FETCHED = `SELECT relnamespace::regnamespace::text AS schema, sum(pg_stat_get_xact_blocks_fetched(oid))::int AS blocks FROM pg_class
  WHERE relnamespace IN ('public'::regnamespace, 'lockstep'::regnamespace) GROUP BY 1`;

export interface Touched {
  readonly table: number;
  readonly feed: number;
}

/** The blocks that the work touches of the table, of the feed, and of their indexes, triggers included. Nothing stays of it. */
export async function touchedBy(client: Client, work: () => Promise<unknown>): Promise<Touched> {
  const fetched = async (): Promise<Touched> => {
    const { rows } = await client.query<{ schema: string; blocks: number }>(FETCHED);
    const of = (schema: string): number => rows.find((row) => row.schema === schema)?.blocks ?? 0;
    return { table: of('public'), feed: of('lockstep') };
  };
  await client.query('BEGIN');
  try {
    const before = await fetched();
    await work();
    const after = await fetched();
    return { table: after.table - before.table, feed: after.feed - before.feed };
  } finally {
    await client.query('ROLLBACK');
  }
}
