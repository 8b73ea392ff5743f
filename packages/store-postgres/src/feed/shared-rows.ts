import type { Change, Version } from '@lockstep/core';

export type Acknowledgement = Pick<Change, 'source' | 'key' | 'version'>;
export type RecordedChange = Pick<Change, 'key' | 'version'>;

/** A row of the outbox, found by its own change. */
export interface OutboxRow extends Acknowledgement {
  /** True when it records others besides. */
  readonly shared: boolean;
}

interface SharedRow {
  readonly row: OutboxRow;
  unacknowledged: number;
}

/** One change of a row of the outbox that records several. */
class Member {
  readonly key: string;
  readonly shared: SharedRow;
  /** An acknowledged one leaves with the next renewal: `docs/performance.md` says why. */
  acknowledged = false;
  /** Another change of the same version: of another key, or of another table's. */
  readonly next: Member | undefined;

  constructor(key: string, shared: SharedRow, next: Member | undefined) {
    this.key = key;
    this.shared = shared;
    this.next = next;
  }
}

/** As many changes as may come and go between two renewals, at the least. */
const MIN_RENEWAL = 1_024;

/**
 * Which changes share a row of the outbox, until each of them is acknowledged. Bounded: of more than `limit`, or
 * twice as many for a while, the oldest are forgotten, and their rows are left to consumers.
 */
export class SharedOutboxRows {
  readonly #limit: number;
  #byVersion = new Map<Version, Member>();
  #renewAbove: number;

  constructor(limit: number) {
    this.#limit = limit;
    this.#renewAbove = Math.min(limit, MIN_RENEWAL);
  }

  /** Notes what one row records; the row's own change comes first. */
  add(source: string, changes: readonly RecordedChange[]): void {
    const [first] = changes;
    if (first === undefined) return;
    const { key, version } = first;
    const shared = { row: { source, key, version, shared: true }, unacknowledged: changes.length };
    for (const { key, version } of changes) {
      this.#byVersion.set(version, new Member(key, shared, this.#byVersion.get(version)));
    }
    if (this.#byVersion.size > this.#renewAbove) this.#renew();
  }

  #renew(): void {
    const live = new Map<Version, Member>();
    this.#byVersion.forEach((member, version) => {
      const waiting = unacknowledged(member);
      if (waiting !== undefined) live.set(version, waiting);
    });
    this.#byVersion = live.size > this.#limit ? new Map([...live].slice(-this.#limit)) : live;
    this.#renewAbove = Math.max(Math.min(this.#limit, MIN_RENEWAL), 2 * this.#byVersion.size);
  }

  /** The row to remove now that a change is acknowledged: `undefined` while others of its row are not. */
  take({ source, key, version }: Acknowledgement): OutboxRow | undefined {
    const found = memberOf(this.#byVersion.get(version), source, key);
    if (found === undefined) return { source, key, version, shared: false };
    found.acknowledged = true;
    found.shared.unacknowledged -= 1;
    return found.shared.unacknowledged === 0 ? found.shared.row : undefined;
  }
}

function memberOf(first: Member | undefined, source: string, key: string): Member | undefined {
  for (let member = first; member !== undefined; member = member.next) {
    if (member.key === key && member.shared.row.source === source && !member.acknowledged) return member;
  }
  return undefined;
}

/** Those that wait, in their order. */
function unacknowledged(first: Member | undefined): Member | undefined {
  if (first === undefined) return undefined;
  const next = unacknowledged(first.next);
  if (first.acknowledged) return next;
  return next === first.next ? first : new Member(first.key, first.shared, next);
}
