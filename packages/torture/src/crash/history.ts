import type { Version, WriteResult } from '@lockstep/core';

export type WriteKind = 'put' | 'delete' | 'update' | 'increment';

/** A write that was begun. Times are in µs of the machine's monotonic clock. */
export interface Write {
  readonly kind: WriteKind;
  readonly key: string;
  /** The token that it puts into the row; empty for a delete and for an increment. */
  readonly token: string;
  /** True when another program than Lockstep made it. */
  readonly foreign: boolean;
  readonly startUs: number;
  /** `undefined`: its outcome is not known, so that it may take effect at any time. */
  ack?: Acknowledgement;
}

export interface Acknowledgement {
  readonly endUs: number;
  /** `0`: not known, or of a delete that found no row. */
  readonly version: Version;
  readonly store: WriteResult<unknown>['store'];
  readonly cache: WriteResult<unknown>['cache'] | 'foreign';
  /** The token of the row as the write says that it left it; `null`: no row. Another's where it was merged. */
  readonly seen: string | null;
  readonly coalesced: boolean;
  /** The token of the row that an update changed; empty when there was none. */
  readonly after: string;
}

export interface Read {
  readonly key: string;
  readonly startUs: number;
  readonly endUs: number;
  /** `0`: of an absence whose version is not known. */
  readonly version: Version;
  /** `null`: there was no row. */
  readonly seen: string | null;
  /** True when the cache could not be reached, so that the store answered, which has no buffered write. */
  readonly fallback: boolean;
}

/** A row at the end. */
export interface FinalRow {
  readonly token: string;
  readonly counter: number;
  readonly version: Version;
}

/** Everything that the checker looks at. */
export interface History {
  readonly writes: readonly Write[];
  readonly reads: readonly Read[];
  /** `undefined`: there is no row. */
  readonly rows: ReadonlyMap<string, FinalRow | undefined>;
}

/** An acknowledged write. */
export type Acked = Write & { readonly ack: Acknowledgement };

export function isAcked(write: Write): write is Acked {
  return write.ack !== undefined;
}

/** When a write was over: never, where nobody knows. */
export function endOf(write: Write): number {
  return write.ack?.endUs ?? Number.POSITIVE_INFINITY;
}

/** A write that replaces the row, or removes it. */
export function replaces(write: Write): boolean {
  return write.kind !== 'increment';
}

export function byKey<T extends { readonly key: string }>(items: readonly T[]): Map<string, T[]> {
  const map = new Map<string, T[]>();
  for (const item of items) {
    const list = map.get(item.key);
    if (list === undefined) map.set(item.key, [item]);
    else list.push(item);
  }
  return map;
}
