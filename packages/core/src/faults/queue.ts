import type { QueueAdapter, QueueJob } from '../contracts/queue.js';
import { QueueUnavailableError } from '../errors.js';
import type { FaultPlan } from './plan.js';

/** The calls of a queue that can fail. */
export type QueueCalls = {
  readonly enqueue: { readonly input: readonly QueueJob[]; readonly output: undefined };
  /** A consumer's handler being called with a job. */
  readonly handle: { readonly input: QueueJob; readonly output: undefined };
};

const refusal = (message: string): Error => new QueueUnavailableError(message);

/** The queue with the plan's faults at its boundary; they are `QueueUnavailableError`s unless told otherwise. */
export function faultyQueue(queue: QueueAdapter, plan: FaultPlan<QueueCalls>): QueueAdapter {
  return {
    name: queue.name,
    async enqueue(jobs) {
      const effect = async (): Promise<undefined> => void (await queue.enqueue(jobs));
      await plan.run('enqueue', { input: jobs, effect, refusal });
    },
    consume: (handler, options) =>
      queue.consume(async (job) => {
        await plan.run('handle', { input: job, effect: async () => void (await handler(job)), refusal });
      }, options),
    deadLetters: queue.deadLetters,
    status: () => queue.status(),
    close: () => queue.close(),
  };
}
