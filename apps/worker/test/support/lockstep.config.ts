import { redisCache } from '@lockstep/cache-redis';
import { createLockstep } from '@lockstep/core';
import { bullmqQueue } from '@lockstep/queue-bullmq';
import { postgresStore } from '@lockstep/store-postgres';
import knexPackage from 'knex';
import { defineWorker } from '../../src/define.js';

const { TEST_POSTGRES_URL = '', TEST_PREFIX = '', TEST_REDIS_URL = '' } = process.env;
const knex = knexPackage({ client: 'pg', connection: TEST_POSTGRES_URL });

export default defineWorker({
  port: 0,
  lockstep() {
    const lockstep = createLockstep({
      cache: redisCache({ url: TEST_REDIS_URL }),
      queue: bullmqQueue({ connection: { url: TEST_REDIS_URL }, name: TEST_PREFIX }),
      prefix: TEST_PREFIX,
    });
    const store = postgresStore({ knex }).table<{ id: number; name: string }, number>('products', {
      key: 'id',
    });
    lockstep.collection({ name: 'products', store, additional: true, strategy: 'write-behind' });
    return lockstep;
  },
  close: () => knex.destroy(),
});
