import { queueConformance } from '@lockstep/conformance';
import { startRedis } from '@lockstep/dev-services';
import { afterAll, describe, test } from 'vitest';
import { bullmqQueue } from '../src/index.js';

const redis = await startRedis({ owned: true });
afterAll(() => redis.stop());
let count = 0;

queueConformance({
  describe,
  test,
  name: 'the BullMQ queue conforms',
  hooks: ['second'],
  create: () => {
    const options = {
      connection: { url: redis.url },
      name: `kit${++count}`,
      attempts: 2,
      quickTries: 2,
      backoffMs: 20,
      timeoutMs: 5_000,
    };
    return { queue: bullmqQueue(options), second: bullmqQueue(options), attempts: 4 };
  },
});
