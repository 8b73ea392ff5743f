import { systemMs } from '../../clock.js';
import type { State } from '../history.js';
import type { ViewRow } from '../rows.js';

/** A change as the database has recorded it. */
export interface RecordedChange {
  readonly key: string;
  /** `null`: the row was deleted. */
  readonly row: Omit<ViewRow, '_id'> | null;
  /** `0`: not known. */
  readonly version: number;
  /** Milliseconds since the epoch. */
  readonly atMs: number;
}

const NO_ROW = { token: null, category: '', shelf: 0, ref: '', version: 0 } as const;

/** The states of each row, from changes in the order of their commits. */
export function statesOf(changes: readonly RecordedChange[]): Map<string, State[]> {
  const offsetMs = systemMs() - Date.now();
  const states = new Map<string, State[]>();
  for (const { atMs, key, row, version } of changes) {
    const fromUs = (atMs + offsetMs) * 1_000;
    const own = states.get(key) ?? [{ ...NO_ROW, fromUs: Number.NEGATIVE_INFINITY }];
    own.push(row === null ? { ...NO_ROW, fromUs } : { ...(row as State), version, fromUs });
    states.set(key, own);
  }
  return states;
}
