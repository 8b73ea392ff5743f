/** The suites that a comparison can run: hits, and bursts of writes on each store. */
export const SUITES = ['reads', 'postgres', 'mongo'] as const;

export type SuiteName = (typeof SUITES)[number];

/** Processor time in µs per call, by scenario: of all processes, and behind a colon of one. */
export type Figures = Readonly<Record<string, number>>;
