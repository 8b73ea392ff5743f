import { redisCache } from '@lockstep/cache-redis';
import { type Collection, createLockstep, type Lockstep } from '@lockstep/core';
import { bullmqQueue } from '@lockstep/queue-bullmq';
import { postgresStore } from '@lockstep/store-postgres';
import knexPackage, { type Knex } from 'knex';
import type { Product } from '../bursts/product.js';
import type { MemberOptions } from './member.js';

/** How long an entry lives: in an hour all of them run out several times. */
const TTL_MS = 10 * 60_000;

export interface FleetLockstep {
  readonly lockstep: Lockstep;
  readonly products: Collection<Product, string>;
  readonly knex: Knex;
}

/** The Lockstep that all members of a fleet declare alike. */
export function fleetLockstep({ postgresUrl, queueUrl, redisUrl }: MemberOptions): FleetLockstep {
  const knex = knexPackage({ client: 'pg', connection: postgresUrl, pool: { min: 0, max: 10 } });
  const lockstep = createLockstep({
    cache: redisCache({ url: redisUrl }),
    queue: bullmqQueue({ connection: { url: queueUrl } }),
  });
  const store = postgresStore({ knex }).table<Product>('products', { key: 'id' });
  const products = lockstep.collection({ name: 'products', store, ttlMs: TTL_MS, near: { maxItems: 1_000 } });
  return { lockstep, products, knex };
}
