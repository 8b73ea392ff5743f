import type { CacheOutcome } from '../../src/contracts/api.js';

/** A write, with the events between which it happened; `end` is infinite while it is not acknowledged. */
export interface WriteRecord {
  readonly key: string;
  readonly begin: number;
  readonly end: number;
  readonly version: number;
  readonly deletes: boolean;
  readonly cache: CacheOutcome | 'pending' | undefined;
}

/** A read that returned. A version of 0 is an absence. */
export interface ReadRecord {
  readonly key: string;
  readonly begin: number;
  readonly end: number;
  readonly version: number;
  readonly from: string;
  /** The process had its cache switched off all the time. */
  readonly past?: boolean;
}

/** A row state that the store committed. */
export interface CommitRecord {
  readonly key: string;
  readonly step: number;
  readonly version: number;
  readonly deleted: boolean;
  /** The row's own number; 0 for a deletion. */
  readonly n: number;
  /** The number of the row that it was made of under a condition; 0 for no row. */
  readonly after?: number | undefined;
}

export interface History {
  readonly writes: WriteRecord[];
  readonly reads: ReadRecord[];
  readonly commits: CommitRecord[];
}

/** The version that a read proves: an absence is the newest deletion that it can have seen. */
export function provenVersion(read: ReadRecord, history: History): number {
  if (read.version > 0) return read.version;
  const deletions = history.commits.filter((c) => c.key === read.key && c.deleted && c.step <= read.end);
  return Math.max(0, ...deletions.map(({ version }) => version));
}

/** G2: no read that begins after an acknowledgement returns an older version. */
export function staleReads(history: History): string[] {
  return history.reads.flatMap((read) => {
    const owed = history.writes.filter(
      (write) =>
        write.key === read.key &&
        write.end < read.begin &&
        (write.cache === 'updated' || write.cache === 'invalidated'),
    );
    const newest = Math.max(0, ...owed.map(({ version }) => version));
    const proven = provenVersion(read, history);
    return proven >= newest
      ? []
      : [
          `G2: read of "${read.key}" at ${read.begin}..${read.end} (${read.from}) returned ${proven} after ${newest} was acknowledged`,
        ];
  });
}

/** A read of a process whose cache is switched off sees every commit before it, whoever made it. */
export function behindTheStore(history: History): string[] {
  return history.reads.flatMap((read) => {
    if (read.past !== true) return [];
    const earlier = history.commits.filter(({ key, step }) => key === read.key && step < read.begin);
    const newest = Math.max(0, ...earlier.map(({ version }) => version));
    const proven = provenVersion(read, history);
    return proven >= newest
      ? []
      : [
          `off: read of "${read.key}" at ${read.begin}..${read.end} (${read.from}) returned ${proven}, and the store had ${newest}`,
        ];
  });
}

/** G7: no read returns a version older than one that an earlier read returned. */
export function backwardReads(history: History): string[] {
  return history.reads.flatMap((read) => {
    const earlier = history.reads.filter((other) => other.key === read.key && other.end < read.begin);
    const seen = Math.max(0, ...earlier.map((other) => other.version));
    const proven = provenVersion(read, history);
    return proven >= seen
      ? []
      : [
          `G7: read of "${read.key}" at ${read.begin}..${read.end} (${read.from}) returned ${proven} after a read returned ${seen}`,
        ];
  });
}

/** Two states of a row never share a version. */
export function sharedVersions({ commits }: History): string[] {
  return commits.flatMap((commit, i) => {
    const other = commits.slice(0, i).find(({ key, version, n }) => {
      return key === commit.key && version === commit.version && n !== commit.n;
    });
    return other === undefined
      ? []
      : [`rows ${other.n} and ${commit.n} of "${commit.key}" share the version ${commit.version} (G3)`];
  });
}

/** What is written under a condition follows the row that it was made of. */
export function passedOver({ commits }: History): string[] {
  return commits.flatMap((commit, i) => {
    if (commit.after === undefined) return [];
    const before = commits.slice(0, i).findLast(({ key }) => key === commit.key)?.n ?? 0;
    // A row that got another version is itself.
    return before === commit.after || before === commit.n
      ? []
      : [`row ${commit.n} of "${commit.key}" was made of ${commit.after}, and passed over ${before}`];
  });
}
