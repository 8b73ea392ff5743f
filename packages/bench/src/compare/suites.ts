import type { ProcessorTimes } from '../bursts/processor.js';

/** The suites that a comparison can run: hits, and bursts of writes on each store. */
export const SUITES = ['reads', 'postgres', 'mongo'] as const;

export type SuiteName = (typeof SUITES)[number];

/** The parent's wish: one turn of a scenario. */
export interface Asked {
  readonly scenario: string;
  readonly ms: number;
}

/** A turn's calls, and the processor time that they took, in µs by process. */
export interface Used {
  readonly calls: number;
  readonly us: ProcessorTimes;
}

/** The child's answers: first its scenarios, then a turn for each wish. */
export type Answered = { readonly scenarios: readonly string[] } | Used;
