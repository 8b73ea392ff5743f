import type { Change, FeedConsumeOptions } from '@lockstep/core';
import { Backoff } from '@lockstep/core/kit';

const BETWEEN_TRIES = { firstMs: 10, lastMs: 1_000 };

export type Handler = (changes: readonly Change[]) => Promise<void>;

/** The taker of changes, and the listeners for failures. */
export interface Delivery {
  readonly handler: Handler;
  readonly batchSize: number;
  readonly signal: AbortSignal;
  readonly onError: (error: unknown) => void;
  readonly onReset: FeedConsumeOptions['onReset'];
  /** The fields of a source's documents whose values its changes are to tell. */
  readonly columns: (source: string) => readonly string[];
}

/** Runs `work` until it succeeds; false when the signal came first. Each failure is told. */
export async function untilDone(
  work: () => Promise<void>,
  { signal, onError }: Pick<Delivery, 'signal' | 'onError'>,
): Promise<boolean> {
  const backoff = new Backoff(BETWEEN_TRIES);
  while (!signal.aborted) {
    try {
      await work();
      return true;
    } catch (error) {
      if (!signal.aborted) onError(error);
      await backoff.wait(signal);
    }
  }
  return false;
}

/** Hands changes over, again and again until they are taken; false when the signal came first. */
export async function deliver(changes: readonly Change[], delivery: Delivery): Promise<boolean> {
  for (let at = 0; at < changes.length; at += delivery.batchSize) {
    const batch = changes.slice(at, at + delivery.batchSize);
    if (!(await untilDone(() => delivery.handler(batch), delivery))) return false;
  }
  return true;
}
