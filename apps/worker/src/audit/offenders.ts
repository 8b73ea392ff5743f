/** Keys that are kept; the oldest go first. */
const MAX_OFFENDERS = 100;
/** Looks at one key that are kept: the first, and the newest. */
const MAX_HISTORY = 20;

/** One look at an entry and its row. */
export interface Look {
  readonly atMs: number;
  readonly verdict: string;
  /** Versions; `null`: none. */
  readonly entry: number | null;
  readonly row: number | null;
}

/** An entry that stayed wrong although nothing was on its way any more that would have mended it. */
export interface Offender {
  readonly collection: string;
  readonly key: string;
  readonly kind: string;
  /** When it was seen to be wrong first, in ms since the epoch. */
  readonly firstSeenMs: number;
  /** When it was seen to be right again, or gone; `null`: it is wrong still, as far as was looked. */
  readonly mendedMs: number | null;
  readonly history: readonly Look[];
}

/** The newest offenders, each once. */
export class Offenders {
  readonly #byKey = new Map<string, Offender>();

  /** True when it was not named before. */
  note(offender: Offender): boolean {
    const name = nameOf(offender);
    const known = this.#byKey.get(name);
    const isNew = known === undefined || known.mendedMs !== null;
    this.#byKey.delete(name);
    const firstSeenMs = isNew ? offender.firstSeenMs : known.firstSeenMs;
    this.#byKey.set(name, { ...offender, firstSeenMs, history: shortened(offender.history) });
    const [oldest] = this.#byKey.keys();
    if (this.#byKey.size > MAX_OFFENDERS && oldest !== undefined) this.#byKey.delete(oldest);
    return isNew;
  }

  mended(collection: string, key: string, look: Look): void {
    const name = nameOf({ collection, key });
    const known = this.#byKey.get(name);
    if (known === undefined || known.mendedMs !== null) return;
    this.#byKey.set(name, { ...known, mendedMs: look.atMs, history: shortened([...known.history, look]) });
  }

  /** Those that are wrong still. */
  get open(): readonly Offender[] {
    return this.list.filter(({ mendedMs }) => mendedMs === null);
  }

  /** The newest first. */
  get list(): readonly Offender[] {
    return [...this.#byKey.values()].reverse();
  }
}

function nameOf({ collection, key }: Pick<Offender, 'collection' | 'key'>): string {
  return `${collection}\n${key}`;
}

function shortened(history: readonly Look[]): readonly Look[] {
  return history.length <= MAX_HISTORY
    ? history
    : [...history.slice(0, 1), ...history.slice(1 - MAX_HISTORY)];
}
