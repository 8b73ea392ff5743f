import type { Promised, Shown, State, ViewRead, ViewsHistory } from '../history.js';
import { CATEGORIES, type Query } from '../rows.js';
import { Floors } from './floors.js';

/** How far the clocks of the database and of this machine's processes may be apart, in µs. */
const CLOCK_SLACK_US = 3_000;

/** The faults of a history, in words. */
export interface ViewsFindings {
  /** Reads that lack a row, or show one that had left, or as it was, before a write that was over when they began. */
  readonly stale: readonly string[];
  /** Reads of what no state of the rows was ever like. */
  readonly wrong: readonly string[];
  /** Acknowledged writes that the database knows nothing of. */
  readonly lost: readonly string[];
  /** Stale reads in a time for which nothing is promised. */
  readonly excused: number;
}

type Verdict = { readonly kind: 'stale' | 'wrong'; readonly problem: string } | undefined;

const NO_ROW: readonly State[] = [
  { token: null, category: CATEGORIES[0], shelf: 0, ref: '', version: 0, fromUs: 0 },
];

/**
 * Judges each read of a view row by row: what it shows of a row, or that it does not show it, must be a state of the row
 * that is no older than any write of the row which was acknowledged before the read began, and no younger than its end.
 */
export function checkViews({ promised, reads, states, windows }: ViewsHistory): ViewsFindings {
  const judge = new Judge(states, promised);
  const found = { stale: [] as string[], wrong: [] as string[] };
  let excused = 0;
  for (const read of reads) {
    const verdict = judge.verdict(read);
    if (verdict === undefined) continue;
    const { kind, problem } = verdict;
    if (
      kind === 'stale' &&
      windows.some(({ fromUs, toUs }) => read.endUs >= fromUs && read.startUs <= toUs)
    ) {
      excused++;
    } else found[kind].push(`${JSON.stringify(read.query)} at ${read.startUs}: ${problem}`);
  }
  return { ...found, lost: judge.lost(), excused };
}

class Judge {
  readonly #states: ViewsHistory['states'];
  readonly #promised: ViewsHistory['promised'];
  readonly #ofKey: ReadonlyMap<string, readonly Promised[]>;
  /** By view and key. */
  readonly #floors = new Map<string, Floors>();
  /** The last state with the token, by key and token. */
  readonly #numbers = new Map<string, Map<string, number>>();

  constructor(states: ViewsHistory['states'], promised: ViewsHistory['promised']) {
    this.#states = states;
    this.#promised = promised;
    this.#ofKey = Map.groupBy(promised, ({ key }) => key);
    for (const [key, own] of states) {
      const numbers = own.flatMap(({ token }, i) => (token === null ? [] : [[token, i] as const]));
      this.#numbers.set(key, new Map(numbers));
    }
  }

  verdict(read: ViewRead): Verdict {
    const shown = new Map(read.shown);
    if (shown.size < read.shown.length) return { kind: 'wrong', problem: 'it shows a row twice' };
    const { query } = read;
    if (query.view === 'pair') return this.#pair(query.key, read, shown);
    for (const key of shown.keys()) if (!this.#states.has(key)) return unknown(key, shown.get(key));
    for (const key of this.#states.keys()) {
      const verdict = this.#row(key, shown.get(key), read, (state) => isIn(state, query));
      if (verdict !== undefined) return verdict;
    }
    return undefined;
  }

  #pair(key: string, read: ViewRead, shown: ReadonlyMap<Shown[0], Shown[1]>): Verdict {
    const token = shown.get(key);
    const isThere = (state: State): boolean => state.token !== null;
    const first = this.#row(key, token, read, isThere);
    if (first !== undefined) return first;
    const own = token === undefined ? undefined : this.#of(key)[this.#numberOf(key, token)];
    const expected = own === undefined ? [] : [key, own.ref];
    const other = [...shown.keys()].find((each) => !expected.includes(each));
    if (other !== undefined) return { kind: 'wrong', problem: `it shows ${other}, not ${own?.ref}` };
    if (own === undefined || own.ref === key) return undefined;
    return this.#row(own.ref, shown.get(own.ref), read, isThere);
  }

  /** @param shows whether the view shows the row in this state */
  #row(
    key: string,
    token: string | undefined,
    { endUs, query, startUs }: ViewRead,
    shows: (state: State) => boolean,
  ): Verdict {
    const states = this.#of(key);
    const { state: floor, reason } = this.#floorsOf(key, query, shows).at(startUs);
    const isEarly = ({ fromUs }: State): boolean => fromUs <= endUs + CLOCK_SLACK_US;
    if (token === undefined) {
      if (states.some((state, i) => i >= floor && isEarly(state) && !shows(state))) return undefined;
      return { kind: 'stale', problem: `it lacks ${key} after ${reason}` };
    }
    const state = states.find((each) => each.token === token);
    if (state === undefined || !isEarly(state)) return unknown(key, token);
    // An adopted row is one more state, with the same token.
    const number = this.#numberOf(key, token);
    if (!shows(state))
      return { kind: 'wrong', problem: `it shows ${key} ${token}, which is ${textOf(state)}` };
    return number >= floor
      ? undefined
      : { kind: 'stale', problem: `it shows ${key} ${token} after ${reason}` };
  }

  lost(): string[] {
    return this.#promised
      .filter(({ key, token }) => token !== null && this.#numberOf(key, token) < 0)
      .map(({ key, token }) => `${key}: nobody has committed ${token}`);
  }

  #floorsOf(key: string, query: Query, shows: (state: State) => boolean): Floors {
    // Whatever leads to a row depends on its key alone.
    const name = JSON.stringify([query.view === 'pair' ? '' : query, key]);
    const known = this.#floors.get(name);
    if (known !== undefined) return known;
    const isToldOf = query.view === 'pair' ? () => true : shows;
    const floors = new Floors(this.#of(key), this.#ofKey.get(key) ?? [], isToldOf);
    this.#floors.set(name, floors);
    return floors;
  }

  #of(key: string): readonly State[] {
    return this.#states.get(key) ?? NO_ROW;
  }

  #numberOf(key: string, token: string): number {
    return this.#numbers.get(key)?.get(token) ?? -1;
  }
}

function isIn({ category, shelf, token }: State, query: Exclude<Query, { view: 'pair' }>): boolean {
  if (token === null) return false;
  if (query.view === 'all') return true;
  return category === query.category && (query.view === 'category' || shelf === query.shelf);
}

function unknown(key: string, token: string | undefined): Verdict {
  return { kind: 'wrong', problem: `it shows ${key} ${token}, which nobody had committed` };
}

function textOf({ category, shelf }: State): string {
  return JSON.stringify({ category, shelf });
}
