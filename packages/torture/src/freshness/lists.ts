import { type Fact, UNKNOWN_GROUP } from './facts.js';
import { type Outage, type OutageAllowances, Outages } from './outages.js';

/** A row as a list shows it. */
export interface Member {
  readonly index: number;
  readonly version: number;
  readonly rank: number;
}

/** What a list showed: the rows of a group, lowest ranks first. */
export interface ListRead {
  readonly group: number;
  readonly members: readonly Member[];
  /** The last one of a list that may go on behind it; `undefined`: it shows all. */
  readonly last: Pick<Member, 'index' | 'rank'> | undefined;
}

/** A row that a list lacks, as it must have been when the list was read. */
export interface Lacking {
  readonly index: number;
  readonly version: number;
  readonly group: number;
  readonly rank: number;
}

export interface ListCheckerOptions extends OutageAllowances {
  /** Asks the store whether the row is still just so: then it was so all the time. */
  readonly isStillSo: (lacking: Lacking) => Promise<boolean>;
}

export interface ListVerdicts {
  readonly checked: number;
  /** Lists that lack a row, or show one as it was before, although the write was acknowledged before they were read. */
  readonly stale: number;
  /** No verdict: too many were waiting, or the row has changed since it was missed. */
  readonly unjudged: number;
}

/** A list that is being read, or waits for its verdict. */
export interface ListTicket {
  readonly startMs: number;
  read: ListRead | 'failed' | undefined;
}

type Known = Omit<Lacking, 'index'>;

const MAX_WAITING = 20_000;
const MAX_ASKED = 100;
/** States of a row that are kept: a write may be told before the one that it followed. */
const KEPT = 6;
const SAMPLES = 10;

/**
 * Judges reads of lists against writes, across processes, as `FreshnessChecker` does those of rows: in the order in which
 * they began, each write binding once it is acknowledged, or at the end of the relay's lag. A write binds the lists of the
 * group that its row left and of the one that it got.
 */
export class ListChecker {
  readonly #options: ListCheckerOptions;
  readonly #outages: Outages;
  readonly #waiting: ListTicket[] = [];
  #pending: Fact[] = [];
  /** What is known of each row, lowest versions first. */
  readonly #known = new Map<number, Known[]>();
  /** The state of each row that binds. */
  readonly #bound = new Map<number, Lacking>();
  readonly #groups = new Map<number, Map<number, Lacking>>();
  /** The lowest version of a row that the lists of a group may show. */
  readonly #floors = new Map<number, Map<number, number>>();
  readonly #asked = new Set<Promise<void>>();
  #checked = 0;
  #stale = 0;
  #unjudged = 0;
  readonly samples: string[] = [];

  constructor(options: ListCheckerOptions) {
    this.#options = options;
    this.#outages = new Outages(options);
  }

  get verdicts(): ListVerdicts {
    return { checked: this.#checked, stale: this.#stale, unjudged: this.#unjudged };
  }

  outages(list: readonly Outage[]): void {
    this.#outages.set(list);
  }

  fact(fact: Fact): void {
    if (fact.kind === 'delete-begun' || fact.kind === 'delete-ended') return;
    this.#note(fact.index, fact);
    this.#pending.push(fact);
  }

  /** `undefined`: too many wait, and this one goes unjudged. */
  begin(startMs: number): ListTicket | undefined {
    if (this.#waiting.length >= MAX_WAITING) {
      this.#unjudged += 1;
      return undefined;
    }
    const ticket: ListTicket = { startMs, read: undefined };
    this.#waiting.push(ticket);
    return ticket;
  }

  /** Judges what began before `horizonMs`; all facts before it must have been given. */
  judge(horizonMs: number): void {
    const due = this.#pending
      .map((fact) => ({ fact, atMs: isLate(fact) ? this.#outages.dueMs(fact.atMs) : fact.atMs }))
      .sort((a, b) => a.atMs - b.atMs);
    let applied = 0;
    let judged = 0;
    for (const { read, startMs } of this.#waiting) {
      if (read === undefined || startMs >= horizonMs) break;
      for (; (due[applied]?.atMs ?? Number.POSITIVE_INFINITY) < startMs; applied += 1) {
        this.#bind((due[applied] as (typeof due)[number]).fact);
      }
      judged += 1;
      if (read !== 'failed') this.#verdict(read, startMs);
    }
    this.#waiting.splice(0, judged);
    this.#pending = due.slice(applied).map(({ fact }) => fact);
  }

  /** Resolves when nothing is asked of the store any more. */
  async settled(): Promise<void> {
    await Promise.all(this.#asked);
  }

  #note(index: number, { group, rank, version }: Known): void {
    const known = this.#known.get(index) ?? [];
    const same = known.findIndex((each) => each.version === version);
    if (same >= 0) {
      if (known[same]?.group === UNKNOWN_GROUP) known[same] = { group, rank, version };
      return;
    }
    const later = known.findIndex((each) => each.version > version);
    known.splice(later < 0 ? known.length : later, 0, { group, rank, version });
    if (known.length > KEPT) known.shift();
    this.#known.set(index, known);
  }

  #bind({ group, index, rank, version }: Fact): void {
    const before = this.#known.get(index)?.findLast((each) => each.version < version);
    for (const each of new Set([group, before?.group ?? group])) {
      const floors = this.#floors.get(each) ?? new Map<number, number>();
      floors.set(index, Math.max(version, floors.get(index) ?? 0));
      this.#floors.set(each, floors);
    }
    const old = this.#bound.get(index);
    if (old !== undefined && old.version >= version) return;
    const bound = { group, index, rank, version };
    this.#bound.set(index, bound);
    if (old !== undefined) this.#groups.get(old.group)?.delete(index);
    const members = this.#groups.get(group) ?? new Map<number, Lacking>();
    members.set(index, bound);
    this.#groups.set(group, members);
  }

  #verdict({ group, last, members }: ListRead, startMs: number): void {
    this.#checked += 1;
    const isExcused = this.#outages.replaying(startMs);
    const floors = this.#floors.get(group);
    const old = members.find(({ index, version }) => version < (floors?.get(index) ?? 0));
    for (const { index, rank, version } of members) this.#note(index, { group, rank, version });
    if (isExcused) return;
    if (old !== undefined) {
      this.#found(`group ${group} shows ${old.index} at ${old.version}, not ${floors?.get(old.index)}`);
      return;
    }
    const shown = new Set(members.map(({ index }) => index));
    for (const lacking of this.#groups.get(group)?.values() ?? []) {
      if (shown.has(lacking.index)) continue;
      if (last !== undefined && isBehind(lacking, last)) continue;
      // What is known to have come later explains the absence.
      if ((this.#known.get(lacking.index)?.at(-1)?.version ?? 0) > lacking.version) continue;
      this.#ask(lacking);
      return;
    }
  }

  #ask(lacking: Lacking): void {
    if (this.#asked.size >= MAX_ASKED) {
      this.#unjudged += 1;
      return;
    }
    const asked = this.#options
      .isStillSo(lacking)
      .catch(() => false)
      .then((isStill) => {
        if (isStill) this.#found(`group ${lacking.group} lacks ${lacking.index} at ${lacking.version}`);
        else this.#unjudged += 1;
      })
      .finally(() => this.#asked.delete(asked));
    this.#asked.add(asked);
  }

  #found(problem: string): void {
    this.#stale += 1;
    if (this.samples.length < SAMPLES) this.samples.push(problem);
  }
}

/** Of the group nothing is known: its row has changed, and that is all. */
function isLate({ group, kind }: Fact): boolean {
  return group === UNKNOWN_GROUP || kind === 'late-put' || kind === 'late-delete';
}

function isBehind(row: Pick<Member, 'index' | 'rank'>, last: Pick<Member, 'index' | 'rank'>): boolean {
  return row.rank > last.rank || (row.rank === last.rank && row.index > last.index);
}
