/** What a read that begins now may return at the least. */
export interface Owed {
  /** By whoever asks the cache or the store, and by a near read of a process that wrote it itself. */
  readonly now: number;
  /** By a near read: what was acknowledged `maxStaleMs` ago, and what its own process wrote. */
  readonly near: number;
}

interface Acknowledged {
  readonly atMs: number;
  readonly version: number;
}

/** One key: the newest acknowledged version, and those of the last while. */
class Key {
  newest = 0;
  /** The newest that every process owes. */
  old = 0;
  readonly recent: Acknowledged[] = [];
  readonly own: number[];

  constructor(processes: number) {
    this.own = new Array<number>(processes).fill(0);
  }
}

/**
 * Judges reads of one machine's clock against acknowledged writes. A key's reads are asked about in the order in which
 * they begin, so that it holds one floor and what is younger than the bound.
 */
export class NearChecker {
  readonly #maxStaleMs: number;
  readonly #keys: readonly Key[];

  constructor(keys: number, processes: number, maxStaleMs: number) {
    this.#maxStaleMs = maxStaleMs;
    this.#keys = Array.from({ length: keys }, () => new Key(processes));
  }

  acknowledged(key: number, process: number, version: number, atMs: number): void {
    const known = this.#keys[key] as Key;
    known.newest = Math.max(known.newest, version);
    known.own[process] = Math.max(known.own[process] ?? 0, version);
    known.recent.push({ atMs, version });
  }

  owed(key: number, process: number, beginMs: number): Owed {
    const known = this.#keys[key] as Key;
    while ((known.recent[0]?.atMs ?? Number.POSITIVE_INFINITY) <= beginMs - this.#maxStaleMs) {
      known.old = Math.max(known.old, known.recent.shift()?.version ?? 0);
    }
    return { now: known.newest, near: Math.max(known.old, known.own[process] ?? 0) };
  }
}
