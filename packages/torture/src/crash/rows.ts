/** A row of the crash test. */
export interface CrashRow {
  readonly _id: string;
  /** The token of the write that put the row there: no two writes share one. */
  readonly token: string;
  /** The token of the row that an `update` changed. */
  readonly after: string;
  /** The sum of the increments since. */
  readonly counter: number;
}

/** The table's, and the collection's, name. */
export const TABLE = 'crash';

const named = (letter: string, count: number): readonly string[] =>
  Array.from({ length: count }, (_, i) => `${letter}${i}`);

/** Written by everybody, all the time. */
export const HOT = named('h', 16);
/** Written by everybody, now and then. */
export const COOL = named('c', 200);
/** Only added to, so that their sums can be checked. */
export const COUNTERS = named('n', 4);
/** Written by a foreign writer alone, without versions where the store does not stamp by itself. */
export const FOREIGN_ONLY = named('f', 8);

export const KEYS: readonly string[] = [...HOT, ...COOL, ...COUNTERS, ...FOREIGN_ONLY];

export function seedRow(key: string): CrashRow {
  return { _id: key, token: seedToken(key), after: '', counter: 0 };
}

export function seedToken(key: string): string {
  return `seed:${key}`;
}
