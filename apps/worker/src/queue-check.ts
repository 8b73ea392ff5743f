import { InvalidOptionError, type Lockstep } from '@lockstep/core';
import type { Logger } from 'pino';
import { bounded } from './bounded.js';

/** A queue that can say whether its server may drop jobs, as `@lockstep/queue-bullmq`'s can. */
interface EvictionAware {
  evicts(): Promise<boolean | undefined>;
}

const TIMEOUT_MS = 2_000;

/** Throws unless the queue's server keeps what it was given, or the user said that it need not. */
export async function checkQueue(lockstep: Lockstep, allowEviction: boolean, logger: Logger): Promise<void> {
  const queue = lockstep.queue as (Lockstep['queue'] & Partial<EvictionAware>) | undefined;
  if (queue?.evicts === undefined) return;
  let evicts: boolean | undefined;
  try {
    evicts = await bounded('queue', TIMEOUT_MS, queue.evicts());
  } catch (error) {
    // A queue that is away is retried by its consumer; its policy is unknown until then.
    logger.warn({ err: error }, 'the queue did not say whether it evicts');
    return;
  }
  if (evicts !== true) return;
  const problem =
    'its maxmemory-policy lets jobs be evicted; set it to noeviction, or use a Redis of its own';
  if (!allowEviction) throw new InvalidOptionError('worker.lockstep.queue', problem);
  logger.warn({ queue: queue.name }, problem);
}
