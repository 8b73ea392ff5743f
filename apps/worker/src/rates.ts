import type { Figures } from '@lockstep/core';

/** What is done in a second. */
export interface Rates {
  readonly readsPerSecond: number;
  readonly hitsPerSecond: number;
  readonly loadsPerSecond: number;
  /** `null`: there was no read. */
  readonly hitRate: number | null;
  readonly writesPerSecond: number;
  readonly updatedPerSecond: number;
  readonly invalidatedPerSecond: number;
  /** The queue or the feed has the invalidation. */
  readonly deferredPerSecond: number;
  readonly bufferedPerSecond: number;
}

export const EMPTY: Figures = {
  hits: 0,
  misses: {} as Figures['misses'],
  loads: 0,
  loadedRows: 0,
  writes: {} as Figures['writes'],
};

export function add(one: Figures, other: Figures): Figures {
  return combined(one, other, (a, b) => a + b);
}

/** What came in between. A process that counts from 0 again has another id; a forged one may count back. */
export function difference(later: Figures, earlier: Figures): Figures {
  return combined(later, earlier, (a, b) => Math.max(0, a - b));
}

function combined(one: Figures, other: Figures, of: (a: number, b: number) => number): Figures {
  const fields = <Name extends string>(
    a: Readonly<Record<Name, number>>,
    b: Readonly<Record<Name, number>>,
  ): Record<Name, number> => {
    const names = [...new Set([...Object.keys(a), ...Object.keys(b)])] as Name[];
    return Object.fromEntries(names.map((name) => [name, of(a[name] ?? 0, b[name] ?? 0)])) as Record<
      Name,
      number
    >;
  };
  return {
    hits: of(one.hits, other.hits),
    misses: fields(one.misses, other.misses),
    loads: of(one.loads, other.loads),
    loadedRows: of(one.loadedRows, other.loadedRows),
    writes: fields(one.writes, other.writes),
  };
}

export function missesOf({ misses }: Figures): number {
  return Object.values(misses).reduce((sum, count) => sum + count, 0);
}

export function hitRateOf(hits: number, misses: number): number | null {
  return hits + misses === 0 ? null : hits / (hits + misses);
}

export function ratesOf(counted: Figures, elapsedMs: number): Rates {
  const seconds = Math.max(elapsedMs, 1) / 1_000;
  const { hits, loads, writes } = counted;
  const misses = missesOf(counted);
  const { buffered = 0, deferred = 0, invalidated = 0, queued = 0, updated = 0 } = writes;
  return {
    readsPerSecond: (hits + misses) / seconds,
    hitsPerSecond: hits / seconds,
    loadsPerSecond: loads / seconds,
    hitRate: hitRateOf(hits, misses),
    writesPerSecond: (updated + invalidated + queued + deferred + buffered) / seconds,
    updatedPerSecond: updated / seconds,
    invalidatedPerSecond: invalidated / seconds,
    deferredPerSecond: (queued + deferred) / seconds,
    bufferedPerSecond: buffered / seconds,
  };
}
