import { MongoClient } from 'mongodb';
import type { OwnedProcess } from '../types.js';

/** A server that one of the ways to it has started. */
export interface MongoServer {
  /** Without a database in its path. */
  readonly url: string;
  readonly replicaSet?: string | undefined;
  readonly members: readonly OwnedProcess[];
  primary(): Promise<OwnedProcess>;
  stepDown(): Promise<void>;
  stop(): Promise<void>;
}

/** A connection for a few commands, each bounded in time. */
export async function withMongo<T>(url: string, use: (client: MongoClient) => Promise<T>): Promise<T> {
  const client = new MongoClient(url, {
    serverSelectionTimeoutMS: 10_000,
    connectTimeoutMS: 5_000,
    socketTimeoutMS: 20_000,
  });
  try {
    return await use(client);
  } finally {
    await client.close(true);
  }
}
