/** A time in which a server could not be reached; `toMs` is `null` while it lasts. */
export interface Outage {
  readonly fromMs: number;
  readonly toMs: number | null;
  /** The server came back without its last writes, or without any: what it acknowledged may be gone. */
  readonly restarted: boolean;
}

export interface OutageAllowances {
  /** How long a late write may stay unseen while cache and store can be reached, in ms. */
  readonly lagBoundMs: number;
  /** How long after an outage clients may take to find the server again; not counted as reachable, in ms. */
  readonly recoveryMs: number;
}

/** The times in which at least one of several servers could not be reached, in order and not overlapping. */
export function eitherDown(...lists: readonly (readonly Outage[])[]): Outage[] {
  const joined: Outage[] = [];
  for (const outage of lists.flat().sort((a, b) => a.fromMs - b.fromMs)) {
    const last = joined.at(-1);
    if (last === undefined || (last.toMs !== null && last.toMs < outage.fromMs)) {
      joined.push(outage);
      continue;
    }
    const toMs = last.toMs === null || outage.toMs === null ? null : Math.max(last.toMs, outage.toMs);
    joined[joined.length - 1] = { ...last, toMs, restarted: last.restarted || outage.restarted };
  }
  return joined;
}

/** The times that don't count against the relay's lag. */
export class Outages {
  readonly #allowances: OutageAllowances;
  #list: readonly Outage[] = [];

  constructor(allowances: OutageAllowances) {
    this.#allowances = allowances;
  }

  /** Replaces what is known; in the order of `fromMs`, not overlapping. */
  set(list: readonly Outage[]): void {
    this.#list = list;
  }

  /** When a write made at `atMs` must have reached every reader; `Infinity` while that is open. */
  dueMs(atMs: number): number {
    let due = atMs + this.#allowances.lagBoundMs;
    for (const outage of this.#list) {
      const over =
        outage.toMs === null ? Number.POSITIVE_INFINITY : outage.toMs + this.#allowances.recoveryMs;
      if (over <= atMs || outage.fromMs >= due) continue;
      due = Math.max(due, over + Math.max(0, due - Math.max(atMs, outage.fromMs)));
    }
    return due;
  }

  /** True right after the server came back with an older state: the feed's last minutes are being replayed. */
  replaying(atMs: number): boolean {
    const { lagBoundMs, recoveryMs } = this.#allowances;
    return this.#list.some(
      ({ fromMs, toMs, restarted }) =>
        restarted && atMs >= fromMs && (toMs === null || atMs <= toMs + recoveryMs + lagBoundMs),
    );
  }
}
