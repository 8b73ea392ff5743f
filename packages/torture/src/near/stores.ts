import type { StoreAdapter } from '@lockstep/core';
import { memoryStore } from '@lockstep/core/memory';
import { startMongo, startPostgres } from '@lockstep/dev-services';
import { mongoStore } from '@lockstep/store-mongo';
import { postgresStore } from '@lockstep/store-postgres';
import knexPackage from 'knex';
import { MongoClient } from 'mongodb';

export type NearStoreName = 'memory' | 'postgres' | 'mongo';

export interface NearRow {
  readonly _id: string;
  readonly n: number;
  readonly group: string;
}

type Adapter = StoreAdapter<NearRow, string>;

/** A database as the run uses it: `group` is a tag of its rows. */
export interface NearStore {
  /** One for each process. */
  readonly adapters: readonly Adapter[];
  /** Another program's write, past Lockstep. */
  foreign(row: NearRow): Promise<unknown>;
  close(): Promise<void>;
}

const TABLE = 'near_rows';
const TAGS = { tags: ['group'] } as const;

export async function openNearStore(name: NearStoreName, processes: number): Promise<NearStore> {
  if (name === 'postgres') return await openPostgres(processes);
  return name === 'mongo' ? await openMongo(processes) : openMemory(processes);
}

function openMemory(processes: number): NearStore {
  const store = memoryStore<NearRow>({ name: 'rows' });
  return {
    adapters: Array.from({ length: processes }, () => store),
    foreign: (row) => store.foreignWrite(row._id, row),
    close: async () => undefined,
  };
}

async function openPostgres(processes: number): Promise<NearStore> {
  const server = await startPostgres({ owned: true });
  const opened = Array.from({ length: processes }, () => {
    const knex = knexPackage({ client: 'pg', connection: server.url, pool: { min: 0, max: 5 } });
    const pg = postgresStore({ knex });
    return { knex, pg, adapter: pg.table<NearRow, string>(TABLE, { key: '_id' }) };
  });
  const [first] = opened;
  if (first === undefined) throw new Error('no process');
  const { adapter, knex, pg } = first;
  await knex.schema.createTable(TABLE, (columns) => {
    columns.text('_id').primary();
    columns.integer('n').notNullable();
    columns.text('group').notNullable();
  });
  await pg.attach(adapter, TAGS);
  return {
    adapters: opened.map((each) => each.adapter),
    foreign: (row) => knex<NearRow>(TABLE).insert(row).onConflict('_id').merge(),
    async close() {
      for (const each of opened) {
        await each.pg.close();
        await each.knex.destroy();
      }
      await server.stop();
    },
  };
}

async function openMongo(processes: number): Promise<NearStore> {
  const server = await startMongo({ owned: true });
  const db = new URL(server.url).pathname.slice(1);
  const opened = Array.from({ length: processes }, () => {
    const client = new MongoClient(server.url, { maxPoolSize: 12 });
    const mongo = mongoStore({ client, db });
    return { client, mongo, adapter: mongo.collection<NearRow>(TABLE) };
  });
  const [first] = opened;
  if (first === undefined) throw new Error('no process');
  await first.mongo.attach(first.adapter, TAGS);
  const raw = first.client.db(db).collection<NearRow>(TABLE);
  return {
    adapters: opened.map(({ adapter }) => adapter as unknown as Adapter),
    foreign: ({ _id, ...set }) =>
      raw.updateOne({ _id }, { $set: set }, { upsert: true, writeConcern: { w: 'majority' } }),
    async close() {
      for (const { client, mongo } of opened) {
        await mongo.close();
        await client.close();
      }
      await server.stop();
    },
  };
}
