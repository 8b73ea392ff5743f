import type { QueueAdapter } from '@lockstep/core';
import type { KitOptions } from '../kit/runner.js';

/** A queue for one case, empty, and what the kit may do to it from behind. */
export interface QueueUnderTest {
  /** Open and ready; the kit closes it. */
  readonly queue: QueueAdapter;
  /** How often a failing job is tried in all. Few, with short pauses: the kit waits for the last one. */
  readonly attempts: number;
  /** Another client of the same queue, as another process would have. The kit closes it. */
  readonly second?: QueueAdapter;
  /** How many jobs may wait before `enqueue` refuses; small. */
  readonly limit?: number;
  /** Takes the queue's server away for the rest of the case. */
  makeUnavailable?(): Promise<void> | void;
  /** Moves an injected clock; without it the kit waits for real time. */
  advance?(ms: number): Promise<void> | void;
  /** Runs at the end of the case, after the adapters are closed. */
  dispose?(): Promise<void> | void;
}

/** Parts of {@link QueueUnderTest} that bring cases of their own. */
export type QueueHook = 'second' | 'limit' | 'makeUnavailable';

export interface QueueConformanceOptions extends KitOptions {
  /** Makes an empty queue, once per case. */
  readonly create: () => Promise<QueueUnderTest> | QueueUnderTest;
  /** The hooks that `create` gives; the kit fails when it gives others than these. @defaultValue none */
  readonly hooks?: readonly QueueHook[];
}
