import { isDeepStrictEqual } from 'node:util';
import { type ReadRecord, staleReads, type WriteRecord } from './history.js';

/** A row of three columns. Each value is of one write alone. */
export interface Columns {
  readonly a: number;
  readonly b: number;
  readonly c: number;
}

export const COLUMNS = ['a', 'b', 'c'] as const;

/** A row that a write makes whole. */
export function columnsOf(n: number): Columns {
  return { a: n, b: n, c: n };
}

/** What a read or a write was told of a row. */
export interface Judged {
  readonly key: string;
  readonly begin: number;
  readonly end: number;
  readonly version: number;
  readonly row: Columns | null;
}

/** An acknowledged write, and the columns that it named. */
interface ColumnsWrite extends WriteRecord, Judged {
  readonly set: Partial<Columns>;
  readonly coalesced: boolean;
}

interface ColumnsCommit {
  readonly key: string;
  readonly step: number;
  readonly version: number;
  /** `undefined`: deleted. */
  readonly row: Columns | undefined;
}

export interface ColumnsHistory {
  readonly writes: ColumnsWrite[];
  readonly reads: (ReadRecord & Judged)[];
  readonly commits: ColumnsCommit[];
}

export function judgeColumns(history: ColumnsHistory): string[] {
  const commits = history.commits.map((commit) => ({ ...commit, deleted: commit.row === undefined, n: 0 }));
  return [
    ...staleReads({ ...history, commits }),
    ...otherRows(history),
    ...cameBack(history),
    ...dropped(history),
  ];
}

/** Whoever is told a version is told the row that the store committed at it. */
function otherRows({ commits, reads, writes }: ColumnsHistory): string[] {
  const told = [...reads, ...writes.filter(({ coalesced }) => !coalesced)];
  return told.flatMap(({ key, row, version }) => {
    if (version === 0) return [];
    const commit = commits.find((each) => each.key === key && each.version === version);
    if (commit !== undefined && isDeepStrictEqual(row ?? undefined, commit.row)) return [];
    const [as, was] = [row, commit?.row].map((each) => JSON.stringify(each));
    return [`"${key}" was told as ${as} at ${version}, and the store committed ${was}`];
  });
}

/** A value that another write replaced does not come back: nobody writes what he only read. */
function cameBack({ commits }: ColumnsHistory): string[] {
  return [...Map.groupBy(commits, ({ key }) => key)].flatMap(([key, own]) => {
    const ordered = own.toSorted((one, other) => one.version - other.version);
    return COLUMNS.flatMap((column) => {
      const values = ordered.map(({ row }) => row?.[column]);
      return values.flatMap((value, i) => {
        const last = values.lastIndexOf(value, i - 1);
        if (value === undefined || i === 0 || last === -1 || last === i - 1) return [];
        return [`"${key}": ${column} is ${value} again, after ${values[i - 1]}`];
      });
    });
  });
}

/** Each column that a write named got its value, or that of a neighbour which travelled along: none that was there before. */
function dropped({ commits, writes }: ColumnsHistory): string[] {
  return writes.flatMap(({ coalesced, key, set, version }) => {
    const own = commits
      .filter((commit) => commit.key === key)
      .toSorted((one, other) => one.version - other.version);
    // One that the next of the same statement replaced has a version between.
    const at = own.findIndex((each) => each.version === version || (coalesced && each.version > version));
    return COLUMNS.flatMap((column) => {
      const [before, after] = [own[at - 1]?.row?.[column], own[at]?.row?.[column]];
      const wrote = set[column];
      if (wrote === undefined || after === wrote) return [];
      if (own[at]?.row === undefined && coalesced) return [];
      return after !== undefined && after !== before
        ? []
        : [`"${key}": ${column} was written as ${wrote} at ${version}, and is ${after}`];
    });
  });
}
