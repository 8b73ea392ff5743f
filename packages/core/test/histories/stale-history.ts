import { type History, type ReadRecord, staleReads } from './history.js';

/** A read that a process sent to the store. */
export interface Asked {
  readonly keys: readonly string[];
  readonly begin: number;
  /** Infinite while it is under way. */
  end: number;
  /** The store has answered, be it with an error. */
  answered: boolean;
}

interface StaleRead extends ReadRecord {
  readonly beginMs: number;
  /** All that its process asked the store for. */
  readonly asked: readonly Asked[];
}

/** What the cache held at a key from a step on; no version: no value. */
interface Held {
  readonly key: string;
  readonly step: number;
  readonly version: number | undefined;
  readonly staleAtMs: number | undefined;
}

export interface StaleHistory extends History {
  readonly reads: StaleRead[];
  readonly held: Held[];
  /** Invalidations, when they reached the cache. */
  readonly told: { readonly key: string; readonly step: number; readonly version: number }[];
}

export function judgeStale(history: StaleHistory): string[] {
  return [
    ...staleReads(history),
    ...belowAnInvalidation(history),
    ...taken(history),
    ...unsaid(history),
    ...needless(history),
  ];
}

function shown({ begin, end, from, key, version }: StaleRead): string {
  return `read of "${key}" at ${begin}..${end} (${from}) returned ${version}`;
}

/** What the cache was told to be replaced is not read any more. */
function belowAnInvalidation({ reads, told }: StaleHistory): string[] {
  return reads.flatMap((read) => {
    if (read.from === 'store' || read.version === 0) return [];
    const earlier = told.filter(({ key, step }) => key === read.key && step < read.begin);
    const least = Math.max(0, ...earlier.map(({ version }) => version));
    return read.version >= least ? [] : [`${shown(read)} after the cache was told of ${least}`];
  });
}

/** What the cache held at a key between two steps. */
function heldBetween({ held }: StaleHistory, key: string, from: number, to: number): readonly Held[] {
  const own = held.filter((each) => each.key === key && each.step <= to);
  const first = own.findLastIndex(({ step }) => step <= from);
  return own.slice(Math.max(0, first));
}

/** What is served as expired is in the cache still, once the store has not answered. */
function taken(history: StaleHistory): string[] {
  return history.reads.flatMap((read) => {
    if (read.from !== 'stale') return [];
    const { asked, begin, end, key, version } = read;
    const own = asked.filter((ask) => ask.keys.includes(key) && ask.begin >= begin && ask.end <= end);
    // A change is seen one step late.
    const since = Math.max(begin, ...own.map((ask) => ask.end)) - 1;
    const there = heldBetween(history, key, since, end).some((each) => each.version === version);
    return there ? [] : [`${shown(read)}, which the cache did not hold any more`];
  });
}

/** What has expired is not served as if it had not. */
function unsaid(history: StaleHistory): string[] {
  return history.reads.flatMap((read) => {
    if (read.from !== 'cache' || read.version === 0) return [];
    const { begin, beginMs, end, key, version } = read;
    const same = heldBetween(history, key, begin - 1, end).filter((each) => each.version === version);
    const expired =
      same.length > 0 && same.every(({ staleAtMs = 0 }) => staleAtMs > 0 && staleAtMs <= beginMs);
    return expired ? [`${shown(read)}, which had expired`] : [];
  });
}

/** What has expired is served only by a process that the store has not answered since it answered last. */
function needless({ reads }: StaleHistory): string[] {
  return reads.flatMap((read) => {
    if (read.from !== 'stale') return [];
    const { asked, begin, end } = read;
    const answers = asked.filter((ask) => ask.answered && ask.end < begin);
    const last = Math.max(0, ...answers.map((ask) => ask.end));
    const failed = asked.some((ask) => !ask.answered && ask.end >= last && ask.begin <= end);
    return failed ? [] : [`${shown(read)}, and the store had answered at ${last}`];
  });
}
