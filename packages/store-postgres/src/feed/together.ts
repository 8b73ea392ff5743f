import type { Change, Version } from '@lockstep/core';

export type Acknowledgement = Pick<Change, 'source' | 'key' | 'version'>;
export type RecordedChange = Pick<Change, 'key' | 'version'>;

/** A row of the outbox, found by its own change. */
export interface OutboxRow extends Acknowledgement {
  /** Whether it records others besides. */
  readonly together: boolean;
}

interface SharedRow {
  readonly row: OutboxRow;
  unacknowledged: number;
}

/** A class: `docs/performance.md` says why. */
class Member {
  readonly key: string;
  readonly shared: SharedRow;
  /** Another change of the same version: of another key, or of another table's. */
  readonly next: Member | undefined;

  constructor(key: string, shared: SharedRow, next: Member | undefined) {
    this.key = key;
    this.shared = shared;
    this.next = next;
  }
}

/**
 * Which changes share a row of the outbox, until each of them is acknowledged. Bounded: the oldest are
 * forgotten, and their rows are left to consumers.
 */
export class Together {
  readonly #limit: number;
  readonly #byVersion = new Map<Version, Member>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Notes what one row records; the row's own change comes first. */
  add(source: string, changes: readonly RecordedChange[]): void {
    const [first] = changes;
    if (first === undefined) return;
    const { key, version } = first;
    const shared = { row: { source, key, version, together: true }, unacknowledged: changes.length };
    for (const { key, version } of changes) {
      this.#byVersion.set(version, new Member(key, shared, this.#byVersion.get(version)));
    }
    for (const oldest of this.#byVersion.keys()) {
      if (this.#byVersion.size <= this.#limit) break;
      this.#byVersion.delete(oldest);
    }
  }

  /** The row to remove now that a change is acknowledged: `undefined` while others of its row are not. */
  take({ source, key, version }: Acknowledgement): OutboxRow | undefined {
    const first = this.#byVersion.get(version);
    const found = memberOf(first, source, key);
    if (found === undefined) return { source, key, version, together: false };
    const rest = without(first, found);
    if (rest === undefined) this.#byVersion.delete(version);
    else this.#byVersion.set(version, rest);
    found.shared.unacknowledged -= 1;
    return found.shared.unacknowledged === 0 ? found.shared.row : undefined;
  }
}

function memberOf(first: Member | undefined, source: string, key: string): Member | undefined {
  for (let member = first; member !== undefined; member = member.next) {
    if (member.key === key && member.shared.row.source === source) return member;
  }
  return undefined;
}

function without(first: Member | undefined, gone: Member): Member | undefined {
  if (first === undefined || first === gone) return first?.next;
  return new Member(first.key, first.shared, without(first.next, gone));
}
