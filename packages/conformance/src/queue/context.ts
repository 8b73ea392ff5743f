import type {
  InvalidateJob,
  QueueAdapter,
  QueueConsumeOptions,
  QueueConsumer,
  QueueJob,
} from '@lockstep/core';
import { type Waits, waits } from '../kit/runner.js';
import { unique } from '../kit/unique.js';
import type { QueueConformanceOptions, QueueUnderTest } from './under-test.js';

/** A consumer that remembers what it did. */
export interface Recorder {
  /** Jobs whose handler was called, in order. */
  readonly started: QueueJob[];
  /** Jobs whose handler resolved, in order. */
  readonly handled: QueueJob[];
  readonly errors: unknown[];
  /** The most handlers at once so far; of one key, too. */
  readonly most: { all: number; ofOneKey: number };
  close(): Promise<void>;
}

export interface QueueContext extends Waits {
  readonly underTest: QueueUnderTest;
  readonly queue: QueueAdapter;
  key(): string;
  /** Consumes with a handler that does `body`; closed at the end of the case. */
  consume(
    body?: (job: QueueJob) => Promise<void> | void,
    options?: QueueConsumeOptions & { readonly queue?: QueueAdapter },
  ): Promise<Recorder>;
  dispose(): Promise<void>;
}

export function invalidation(key: string, version: number): InvalidateJob {
  return { kind: 'invalidate', key, version };
}

export async function queueContext(options: QueueConformanceOptions): Promise<QueueContext> {
  const underTest = await options.create();
  const { queue } = underTest;
  const consumers: QueueConsumer[] = [];
  return {
    ...waits(options.deadlineMs ?? 30_000, underTest.advance?.bind(underTest)),
    underTest,
    queue,
    key: () => unique('wtc:conformance:q'),
    async consume(body = () => {}, { queue: from = queue, ...consumeOptions } = {}) {
      const started: QueueJob[] = [];
      const handled: QueueJob[] = [];
      const errors: unknown[] = [];
      const most = { all: 0, ofOneKey: 0 };
      const now: string[] = [];
      const consumer = await from.consume(
        async (job) => {
          started.push(job);
          now.push(job.key);
          most.all = Math.max(most.all, now.length);
          most.ofOneKey = Math.max(most.ofOneKey, now.filter((key) => key === job.key).length);
          try {
            await body(job);
            handled.push(job);
          } finally {
            now.splice(now.indexOf(job.key), 1);
          }
        },
        { onError: (error) => errors.push(error), ...consumeOptions },
      );
      consumers.push(consumer);
      return { started, handled, errors, most, close: () => consumer.close() };
    },
    async dispose() {
      try {
        await Promise.all(consumers.map((consumer) => consumer.close()));
        await queue.close();
        await underTest.second?.close();
      } finally {
        await underTest.dispose?.();
      }
    },
  };
}

/** Registers one case of the kit. */
export type QueueCase = (name: string, body: (context: QueueContext) => Promise<void>) => void;
