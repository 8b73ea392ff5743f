import { createLockstep } from '@lockstep/core';
import { startWorker } from '@lockstep/worker';
import { cacheAt, queueAt } from '../engines/adapters.js';
import { productTags, reviewTags } from '../engines/lockstep.js';
import type { WorkerConfig } from '../messages.js';
import { COLLECTION, LOOPBACK, PREFIX, REVIEWS } from '../naming.js';
import type { Product, Review } from '../products.js';
import { openStore } from '../stores/open.js';

/** A worker that runs in this process. */
export interface RunningWorker {
  /** The address of its health, metrics and dashboard. */
  readonly url: string;
  stop(): Promise<void>;
}

/** Lockstep's worker on the shop's servers, with the shop's collection. */
export async function openWorker({
  store: address,
  cacheUrl,
  queueUrl,
}: WorkerConfig): Promise<RunningWorker> {
  const store = openStore(address);
  const worker = await startWorker({
    lockstep() {
      const queue = queueUrl === null ? undefined : queueAt(queueUrl);
      const lockstep = createLockstep({
        cache: cacheAt(cacheUrl),
        prefix: PREFIX,
        announce: { name: 'worker' },
        ...(queue === undefined ? {} : { queue }),
      });
      lockstep.collection<Product, number>({
        name: COLLECTION,
        store: store.adapter,
        tags: productTags(store),
      });
      lockstep.collection<Review, number>({
        name: REVIEWS,
        store: store.window.adapter,
        tags: reviewTags(store),
      });
      return lockstep;
    },
    close: () => store.close(),
    host: LOOPBACK,
    port: 0,
  });
  return { url: worker.url, stop: () => worker.close() };
}
