import type { CacheOutcome } from '../../src/contracts/api.js';

/** An acknowledged write. `n` is 0 for a deletion. */
export interface BufferedWriteRecord {
  readonly key: string;
  readonly begin: number;
  readonly end: number;
  readonly version: number;
  readonly n: number;
  /** False when a later write of the same batch took its place. */
  readonly own: boolean;
  /** A later update of the same statement changed the row again: nobody finds it at that version, or at all. */
  readonly passed: boolean;
  /** The row that an update read; 0: none. */
  readonly base: number | undefined;
  readonly cache: CacheOutcome | 'pending';
  readonly store: 'committed' | 'buffered' | 'pending';
}

export interface BufferHistory {
  readonly writes: BufferedWriteRecord[];
  readonly reads: {
    readonly key: string;
    readonly begin: number;
    readonly end: number;
    readonly version: number;
    readonly n: number;
    readonly from: string;
    /** The process had its cache switched off all the time, and could reach it. */
    readonly past: boolean;
  }[];
  readonly commits: {
    readonly key: string;
    readonly step: number;
    readonly version: number;
    readonly n: number;
  }[];
  readonly problems: string[];
}

/** What is wrong with a history once everything is flushed. */
export function judge(history: BufferHistory): string[] {
  return [
    ...lost(history),
    ...reordered(history),
    ...shared(history),
    ...overlooked(history),
    ...returned(history),
    ...stale(history),
  ];
}

/** G9: the store ends at or above every acknowledged version, and holds that write where it ends at it. */
function lost({ commits, writes }: BufferHistory): string[] {
  return writes.flatMap(({ key, n, version }) => {
    const last = commits
      .filter((commit) => commit.key === key)
      .reduce((one, other) => (other.version > one.version ? other : one), { version: 0, n: 0 });
    if (last.version > version || (last.version === version && last.n === n)) return [];
    return [
      `G9: "${key}" ends with row ${last.n} at ${last.version}; row ${n} was acknowledged at ${version}`,
    ];
  });
}

/** A write that began after another was acknowledged has the higher version. */
function reordered({ writes }: BufferHistory): string[] {
  return writes.flatMap((later) =>
    writes
      .filter((one) => one.key === later.key && one.end < later.begin && one.version >= later.version)
      .map(
        (one) => `"${one.key}": row ${later.n} got ${later.version} after row ${one.n} had ${one.version}`,
      ),
  );
}

/** Two writes never share a version, and none has that of a row that was passed. */
function shared({ commits, writes }: BufferHistory): string[] {
  const owners = new Map<string, number>();
  const found = [...writes.filter(({ passed }) => !passed), ...commits];
  const twice = found.flatMap(({ key, n, version }) => {
    const name = `${key}@${version}`;
    const owner = owners.get(name) ?? n;
    owners.set(name, owner);
    return owner === n ? [] : [`"${key}": rows ${owner} and ${n} share the version ${version}`];
  });
  const passed = writes.filter((write) => write.passed && owners.has(`${write.key}@${write.version}`));
  return [
    ...twice,
    ...passed.map(
      ({ key, n, version }) => `"${key}": a row has the version ${version}, which ${n} was given`,
    ),
  ];
}

/** An update misses no write that was acknowledged before it began and comes after what it read. */
function overlooked({ commits, writes }: BufferHistory): string[] {
  const versionOf = (key: string, n: number): number =>
    Math.max(
      0,
      ...[...writes, ...commits].filter((one) => one.key === key && one.n === n).map((one) => one.version),
    );
  return writes.flatMap((update) => {
    const { base, key } = update;
    if (base === undefined || base === 0 || !update.own) return [];
    const read = versionOf(key, base);
    return writes
      .filter(
        (one) =>
          one.key === key && one.version > read && one.version < update.version && one.end < update.begin,
      )
      .map(
        (one) =>
          `"${key}": update ${update.n} read row ${base}, and row ${one.n} at ${one.version} came after it`,
      );
  });
}

/** A write does not come back after another that began once it was acknowledged. */
function returned({ commits, writes }: BufferHistory): string[] {
  return writes.flatMap((write) => {
    const { key, n } = write;
    if (n === 0) return [];
    const again = commits.filter(
      (commit) => commit.key === key && commit.n === n && commit.version > write.version,
    );
    return again.flatMap(({ version }) =>
      writes
        .filter((other) => other.key === key && other.begin > write.end && other.version < version)
        .map(
          (other) => `"${key}": row ${n} came back at ${version}, after row ${other.n} at ${other.version}`,
        ),
    );
  });
}

/** G2, of reads from the cache, and of reads from the store as far as it had been told, or was told before the read. */
function stale({ commits, reads, writes }: BufferHistory): string[] {
  return reads.flatMap((read) => {
    const owed = writes.filter(
      ({ cache, end, key, store }) =>
        key === read.key &&
        end < read.begin &&
        (cache === 'updated' || cache === 'invalidated') &&
        (read.from === 'cache' || read.past || store === 'committed'),
    );
    const newest = Math.max(0, ...owed.map(({ version }) => version));
    const proven =
      read.version > 0
        ? read.version
        : Math.max(
            0,
            ...[...commits, ...writes]
              .filter((one) => one.key === read.key && one.n === 0)
              .map(({ version }) => version),
          );
    return proven >= newest
      ? []
      : [`G2: read of "${read.key}" (${read.from}) returned ${proven} after ${newest} was acknowledged`];
  });
}
