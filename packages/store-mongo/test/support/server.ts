import { type MongoOptions, type MongoService, startMongo } from '@lockstep/dev-services';
import { MongoClient, type MongoClientOptions } from 'mongodb';
import { afterAll, beforeAll } from 'vitest';
import type { MongoStoreOptions } from '../../src/options.js';
import { type MongoStore, mongoStore } from '../../src/store.js';

/** A server for one test file, and what it opened, all closed at its end. */
export interface TestServer {
  readonly service: MongoService;
  client(options?: MongoClientOptions): Promise<MongoClient>;
  /** A store of a database; the service's own unless named. */
  store(options?: Partial<MongoStoreOptions>): Promise<MongoStore>;
}

const START_MS = 120_000;

export function testServer(options: MongoOptions = {}): TestServer {
  let service: MongoService | undefined;
  const clients: MongoClient[] = [];
  const stores: MongoStore[] = [];

  function running(): MongoService {
    if (service === undefined) throw new Error('the server is not up yet');
    return service;
  }

  beforeAll(async () => {
    service = await startMongo(options);
  }, START_MS);

  afterAll(async () => {
    await Promise.all(stores.map((store) => store.close()));
    await Promise.all(clients.map((client) => client.close()));
    await service?.stop();
  }, START_MS);

  async function client(clientOptions: MongoClientOptions = {}): Promise<MongoClient> {
    const made = new MongoClient(running().url, clientOptions);
    clients.push(made);
    return made;
  }

  return {
    get service() {
      return running();
    },
    client,
    async store(storeOptions = {}) {
      const own = storeOptions.client ?? (await client());
      const made = mongoStore({ client: own, db: running().databaseName, ...storeOptions });
      stores.push(made);
      return made;
    },
  };
}

export const CALL = { timeoutMs: 10_000 } as const;
export const PRIMARY = { timeoutMs: 10_000, primary: true } as const;
