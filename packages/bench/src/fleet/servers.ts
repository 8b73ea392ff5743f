import { startPostgres, startRedis } from '@lockstep/dev-services';
import { postgresStore } from '@lockstep/store-postgres';
import { Redis } from 'ioredis';
import knexPackage, { type Knex } from 'knex';
import { createProducts, DURABLE } from '../bursts/postgres.js';
import { type Product, product } from '../bursts/product.js';
import { Member, type MemberOptions, type Role } from './member.js';

/** The servers of a fleet: a database with an attached table of products, a Redis for the cache, one for the queue. */
export interface Fleet {
  readonly knex: Knex;
  readonly redis: Redis;
  readonly queue: Redis;
  readonly settings: Readonly<Record<string, unknown>>;
  start(role: Role): Promise<Member>;
  close(): Promise<void>;
}

export async function openFleet(
  { perSecond, products }: Pick<MemberOptions, 'perSecond' | 'products'>,
  settings: Readonly<Record<string, string | number | boolean>> = {},
): Promise<Fleet> {
  const [postgres, cacheServer, queueServer] = await Promise.all([
    startPostgres({ settings: { ...DURABLE, ...settings }, owned: true }),
    startRedis({ owned: true }),
    startRedis({ owned: true }),
  ]);
  const knex = knexPackage({ client: 'pg', connection: postgres.url, pool: { min: 0, max: 2 } });
  const [redis, queue] = [new Redis(cacheServer.url), new Redis(queueServer.url)];
  const options: MemberOptions = {
    postgresUrl: postgres.url,
    redisUrl: cacheServer.url,
    queueUrl: queueServer.url,
    perSecond,
    products,
  };
  const members: Member[] = [];
  const close = async (): Promise<void> => {
    for (const member of members) await member.end();
    redis.disconnect();
    queue.disconnect();
    await knex.destroy();
    await Promise.all([postgres.stop(), cacheServer.stop(), queueServer.stop()]);
  };
  try {
    await createProducts(knex, 'products');
    const rows = Array.from({ length: products }, (_, n) => ({ ...product(n), id: String(n) }));
    await knex.batchInsert('products', rows, 500);
    const store = postgresStore({ knex });
    await store.attach(store.table<Product>('products', { key: 'id' }));
  } catch (error) {
    await close();
    throw error;
  }
  return {
    knex,
    redis,
    queue,
    settings: { ...DURABLE, version: postgres.version, perSecond, products },
    async start(role) {
      const member = await Member.start(role, options);
      members.push(member);
      return member;
    },
    close,
  };
}

/** A figure of the answer to `INFO`. */
export async function infoOf(redis: Redis, field: string): Promise<number> {
  const text = await redis.info();
  return Number(new RegExp(`^${field}:(\\d+)`, 'm').exec(text)?.[1] ?? Number.NaN);
}
