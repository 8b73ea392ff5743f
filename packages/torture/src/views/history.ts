import type { Category, Query } from './rows.js';

/** A state that a row had once, as the database itself has recorded it. Times are in µs of the machine's monotonic clock. */
export interface State {
  /** `null`: there was no row. */
  readonly token: string | null;
  readonly category: Category;
  readonly shelf: number;
  readonly ref: string;
  /** `0`: not known, as of absences, and of rows that another program wrote without one. */
  readonly version: number;
  /** The state was not to be seen before. */
  readonly fromUs: number;
}

/** A write that was acknowledged with the cache in step: no read that begins later may show less. */
export interface Promised {
  /** The call, for messages. */
  readonly call: string;
  readonly key: string;
  /** `null`: the row was deleted. */
  readonly token: string | null;
  readonly version: number;
  readonly endUs: number;
}

/** A row as a view shows it. */
export type Shown = readonly [key: string, token: string];

export interface ViewRead {
  readonly query: Query;
  readonly startUs: number;
  readonly endUs: number;
  readonly shown: readonly Shown[];
}

/** A time for which nothing is promised: the cache's primary has changed, and processes may not know it yet. */
export interface Window {
  readonly fromUs: number;
  readonly toUs: number;
}

/** Everything that the checker looks at. */
export interface ViewsHistory {
  /** Of each key, in the order of their commits; the first one is that there is no row. */
  readonly states: ReadonlyMap<string, readonly State[]>;
  readonly promised: readonly Promised[];
  readonly reads: readonly ViewRead[];
  readonly windows: readonly Window[];
}
