import type { Fact, FactKind } from './facts.js';
import { type Outage, type OutageAllowances, Outages } from './outages.js';
import { ReadLog, type ReadTicket } from './reads.js';

export interface CheckerOptions extends OutageAllowances {
  readonly products: number;
  /** Reads that may wait for their verdict; more go unjudged. @defaultValue 262_144 */
  readonly capacity?: number;
  /** Told of a version that a reader saw before any writer reported it. */
  readonly onSeen?: (kind: FactKind, index: number, version: number, atMs: number) => void;
}

export interface Verdicts {
  readonly checked: number;
  /** Older than a binding write that was acknowledged before the read began. */
  readonly stale: number;
  /** Older than a late write, but within the relay's lag. */
  readonly lagging: number;
  /** No verdict: the log was full, or a delete of unknown outcome may explain an absence. */
  readonly unjudged: number;
}

/** A stale read, for people. */
export interface StaleRead {
  readonly id: number;
  readonly version: number;
  readonly expected: number;
  readonly startMs: number;
  /** The expected write was a late one: acknowledged as queued or deferred, foreign, or seen by a reader. */
  readonly late: boolean;
  /** When it was acknowledged, or seen. */
  readonly expectedMs: number;
}

const SAMPLES = 10;

/**
 * Judges reads against writes, across processes. Reads are taken in the order in which they began, and a fact
 * raises a product's floor for the reads that began after it took effect: at once for an acknowledged write,
 * at the end of the relay's lag for a late one. It is right if `judge` is given a horizon before which all
 * facts are known. It keeps one floor per product and no history.
 */
export class FreshnessChecker {
  readonly #reads: ReadLog;
  readonly #outages: Outages;
  /** The oldest version that a read which begins now may return. */
  readonly #floor: Float64Array;
  /** The write that raised the floor, for reports: when, and whether it was a late one. */
  readonly #floorMs: Float64Array;
  readonly #floorLate: Uint8Array;
  /** The same, had late writes been binding at once. */
  readonly #known: Float64Array;
  readonly #deleted: Float64Array;
  readonly #openDeletes: Int32Array;
  readonly #seen: Float64Array;
  readonly #onSeen: CheckerOptions['onSeen'];
  #pending: Pending[] = [];
  #checked = 0;
  #stale = 0;
  #lagging = 0;
  #unjudged = 0;
  readonly samples: StaleRead[] = [];

  constructor(options: CheckerOptions) {
    this.#reads = new ReadLog(options.capacity ?? 262_144);
    this.#outages = new Outages(options);
    this.#floor = new Float64Array(options.products);
    this.#floorMs = new Float64Array(options.products);
    this.#floorLate = new Uint8Array(options.products);
    this.#known = new Float64Array(options.products);
    this.#deleted = new Float64Array(options.products);
    this.#openDeletes = new Int32Array(options.products);
    this.#seen = new Float64Array(options.products);
    this.#onSeen = options.onSeen;
  }

  get verdicts(): Verdicts {
    return {
      checked: this.#checked,
      stale: this.#stale,
      lagging: this.#lagging,
      unjudged: this.#unjudged,
    };
  }

  /** Reads without a verdict yet. */
  get waiting(): number {
    return this.#reads.size;
  }

  outages(list: readonly Outage[]): void {
    this.#outages.set(list);
  }

  fact(fact: Omit<Fact, 'group' | 'rank'>): void {
    const { kind, index, version } = fact;
    if (index >= this.#floor.length) return;
    if (kind === 'delete-begun') {
      this.#openDeletes[index] = (this.#openDeletes[index] ?? 0) + 1;
      return;
    }
    if (kind === 'delete-ended') {
      // The delete's beginning may have been told before this process could listen.
      this.#openDeletes[index] = Math.max(0, (this.#openDeletes[index] ?? 0) - 1);
      return;
    }
    if (kind === 'delete' || kind === 'late-delete') raise(this.#deleted, index, version);
    raise(this.#seen, index, version);
    const late = kind === 'late-put' || kind === 'late-delete';
    const { atMs } = fact;
    this.#pending.push(
      { target: this.#known, index, version, madeMs: atMs, late: false, atMs },
      { target: this.#floor, index, version, madeMs: atMs, late, atMs },
    );
  }

  begin(index: number, startMs: number): ReadTicket | undefined {
    const ticket = this.#reads.begin(index, startMs);
    if (ticket === undefined) this.#unjudged += 1;
    return ticket;
  }

  /** `version` 0 is an absence of which the cache knows no version. */
  end(ticket: ReadTicket | undefined, index: number, version: number, absent: boolean, nowMs: number): void {
    if (ticket !== undefined) this.#reads.end(ticket, version, absent);
    if (version > (this.#seen[index] ?? 0)) {
      this.#seen[index] = version;
      const kind = absent ? 'late-delete' : 'late-put';
      this.fact({ kind, index, version, atMs: nowMs });
      this.#onSeen?.(kind, index, version, nowMs);
    }
  }

  cancel(ticket: ReadTicket | undefined): void {
    if (ticket !== undefined) this.#reads.cancel(ticket);
  }

  /** Judges what began before `horizonMs`; all facts before it must have been given. */
  judge(horizonMs: number): void {
    const rest: Pending[] = [];
    const due: Pending[] = [];
    for (const pending of this.#pending) {
      if (pending.late) pending.atMs = this.#outages.dueMs(pending.madeMs);
      (pending.atMs < horizonMs ? due : rest).push(pending);
    }
    due.sort((a, b) => a.atMs - b.atMs);
    let next = 0;
    this.#reads.drain(horizonMs, (index, startMs, version, absent) => {
      for (let one = due[next]; one !== undefined && one.atMs < startMs; one = due[next]) {
        if (raise(one.target, one.index, one.version) && one.target === this.#floor) {
          this.#floorMs[one.index] = one.madeMs;
          this.#floorLate[one.index] = one.late ? 1 : 0;
        }
        next += 1;
      }
      this.#verdict(index, startMs, version, absent);
    });
    this.#pending = rest.concat(due.slice(next));
  }

  #verdict(index: number, startMs: number, version: number, absent: boolean): void {
    this.#checked += 1;
    const floor = this.#floor[index] ?? 0;
    let shown = version;
    if (absent && version === 0) {
      if ((this.#openDeletes[index] ?? 0) > 0) {
        this.#unjudged += 1;
        return;
      }
      shown = this.#deleted[index] ?? 0;
    }
    if (shown < floor && !this.#outages.replaying(startMs)) {
      this.#stale += 1;
      if (this.samples.length < SAMPLES) {
        const expectedMs = this.#floorMs[index] ?? 0;
        const late = this.#floorLate[index] === 1;
        this.samples.push({ id: index + 1, version: shown, expected: floor, startMs, late, expectedMs });
      }
    } else if (shown < (this.#known[index] ?? 0)) {
      this.#lagging += 1;
    }
  }
}

/** A fact that no judged read began after: it waits for its turn to raise a floor. */
interface Pending {
  readonly target: Float64Array;
  readonly index: number;
  readonly version: number;
  readonly madeMs: number;
  /** Binding only at the end of the relay's lag, which an outage that is learnt of later may move. */
  readonly late: boolean;
  /** When it takes effect, as far as is known. */
  atMs: number;
}

function raise(target: Float64Array, index: number, version: number): boolean {
  if (version <= (target[index] ?? 0)) return false;
  target[index] = version;
  return true;
}
