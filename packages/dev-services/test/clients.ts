import { Redis } from 'ioredis';
import { MongoClient } from 'mongodb';
import pg from 'pg';

export async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: 10_000,
    query_timeout: 60_000,
  });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const { rows } = await client.query<Record<string, unknown>>(sql);
    return rows;
  } finally {
    await client.end();
  }
}

/** A client that neither retries nor waits for long: what happens to one command is what is seen. */
export function impatientRedis(url: string, commandTimeout = 5_000): Redis & AsyncDisposable {
  const client = new Redis(url, { maxRetriesPerRequest: 0, retryStrategy: () => null, commandTimeout });
  client.on('error', () => undefined);
  return Object.assign(client, {
    [Symbol.asyncDispose]: async () => client.disconnect(),
  });
}

export async function withMongo<T>(url: string, use: (client: MongoClient) => Promise<T>): Promise<T> {
  const client = new MongoClient(url, { serverSelectionTimeoutMS: 20_000 });
  try {
    return await use(client);
  } finally {
    await client.close(true);
  }
}
