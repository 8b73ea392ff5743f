import { build, type Histogram } from 'hdr-histogram-js';
import type { ProcessorTimes } from './processor.js';

/** When a turn ends: when so many calls were made, or so much time has passed, whichever comes first. */
export interface TurnLimit {
  readonly calls?: number;
  readonly ms?: number;
}

/** How long a turn of either side goes on. */
export const TURN_MS = 1_000;

/** The figures of one turn of one side. */
export interface Turn {
  readonly calls: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** A turn, and what it cost: processor time in µs per call, by process. */
export interface CostedTurn extends Turn {
  readonly processorUs: ProcessorTimes;
}

/** Makes calls with `writers` at once, each starting its next when its last has returned, within the limit. */
export async function turn(
  writers: number,
  { calls = Number.POSITIVE_INFINITY, ms = Number.POSITIVE_INFINITY }: TurnLimit,
  call: (n: number) => Promise<unknown>,
): Promise<Turn> {
  const latencies = build({ lowestDiscernibleValue: 1, highestTrackableValue: 60_000_000 });
  let next = 0;
  const startedAt = performance.now();
  const writer = async (): Promise<void> => {
    let begin = performance.now();
    while (next < calls && begin - startedAt < ms) {
      await call(next++);
      const end = performance.now();
      record(latencies, end - begin);
      begin = end;
    }
  };
  await Promise.all(Array.from({ length: writers }, writer));
  const seconds = (performance.now() - startedAt) / 1_000;
  return {
    calls: next,
    perSecond: next / seconds,
    p50Ms: latencies.getValueAtPercentile(50) / 1_000,
    p99Ms: latencies.getValueAtPercentile(99) / 1_000,
  };
}

function record(latencies: Histogram, ms: number): void {
  latencies.recordValue(Math.max(1, Math.round(ms * 1_000)));
}

/** The middle of the values; the mean of the two middle ones when they are even in number. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** The medians of the turns, each on its own. */
export function middleTurn(turns: readonly Turn[]): Turn {
  return {
    calls: median(turns.map((one) => one.calls)),
    perSecond: median(turns.map((one) => one.perSecond)),
    p50Ms: median(turns.map((one) => one.p50Ms)),
    p99Ms: median(turns.map((one) => one.p99Ms)),
  };
}
