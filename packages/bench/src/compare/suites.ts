/** What a comparison can measure: hits, and bursts of writes on each store. */
export const SUITES = ['reads', 'postgres', 'mongo'] as const;

export type SuiteName = (typeof SUITES)[number];

/** Processor time of all processes in µs per call, by scenario. */
export type Figures = Readonly<Record<string, number>>;
