import { build, type Histogram } from 'hdr-histogram-js';
import type { ProcessorTimes } from './processor.js';

/** What one turn of one side measured. */
export interface Turn {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** A turn, and what it cost: processor time in µs per call, by process. */
export interface CostedTurn extends Turn {
  readonly processorUs: ProcessorTimes;
}

/** Runs `total` calls with `writers` at once, each starting its next when its last has returned. */
export async function turn(
  writers: number,
  total: number,
  call: (n: number) => Promise<unknown>,
): Promise<Turn> {
  const latencies = build({ lowestDiscernibleValue: 1, highestTrackableValue: 60_000_000 });
  let next = 0;
  const startedAt = performance.now();
  const writer = async (): Promise<void> => {
    while (next < total) {
      const n = next++;
      const begin = performance.now();
      await call(n);
      record(latencies, performance.now() - begin);
    }
  };
  await Promise.all(Array.from({ length: writers }, writer));
  const seconds = (performance.now() - startedAt) / 1_000;
  return {
    perSecond: total / seconds,
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
