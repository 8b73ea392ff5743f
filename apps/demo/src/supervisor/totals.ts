import type { ListVerdicts, StaleRead, Verdicts } from '@lockstep/torture';
import { build, type Histogram } from 'hdr-histogram-js';
import {
  COUNTERS,
  type Counts,
  FailureLog,
  type Measures,
  noCounts,
  TIMINGS,
  type Timing,
} from '../measure.js';
import type { ApplicationReport } from '../messages.js';

/** Percentiles, in ms. */
export interface Latency {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
  readonly count: number;
}

/** A histogram of milliseconds with a resolution of a microsecond and three digits; longer than two minutes counts as that. */
export class LatencyHistogram {
  readonly #histogram: Histogram = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: MAX_US,
    numberOfSignificantValueDigits: 3,
  });

  add(ms: number, count = 1): void {
    const us = Math.min(MAX_US, Math.max(0, Math.round(ms * 1_000)));
    this.#histogram.recordValueWithCount(us, count);
  }

  get summary(): Latency {
    const at = (percentile: number) => this.#histogram.getValueAtPercentile(percentile) / 1_000;
    return {
      p50: at(50),
      p99: at(99),
      p999: at(99.9),
      max: this.#histogram.maxValue / 1_000,
      count: this.#histogram.totalCount,
    };
  }

  reset(): void {
    this.#histogram.reset();
  }
}

const MAX_US = 120_000_000;

type Judged = Pick<ApplicationReport, 'lists' | 'stale' | 'staleLists' | 'verdicts'>;

/** The counts and timings of all processes, the ended ones included. */
export class Totals {
  readonly counts: Counts = noCounts();
  readonly timings = latencies();
  /** Calls that were rejected. */
  readonly failures = new FailureLog();
  /** Failures for which no caller waits, and which are tried again. */
  readonly backgroundErrors = new FailureLog();
  /** Timings since whoever reads them last reset them. */
  recent:
    | { readonly store: LatencyHistogram; readonly cache: LatencyHistogram; readonly read: LatencyHistogram }
    | undefined;
  readonly #lives = new Map<string, Judged>();

  add({ counts, timings, failures, backgroundErrors }: Measures): void {
    for (const name of COUNTERS) this.counts[name] += counts[name];
    for (const name of TIMINGS) for (const ms of timings[name]) this.timings[name].add(ms);
    if (this.recent !== undefined) {
      for (const ms of timings.writeStoreMs) this.recent.store.add(ms);
      for (const ms of timings.writeCacheMs) this.recent.cache.add(ms);
      for (const ms of timings.readMs) this.recent.read.add(ms);
    }
    for (const failure of failures) this.failures.add(failure);
    for (const error of backgroundErrors) this.backgroundErrors.add(error);
  }

  /** Verdicts only grow within a process's life; `life` names it. */
  judge(life: string, { lists, stale, staleLists, verdicts }: Judged): void {
    this.#lives.set(life, { lists, stale, staleLists, verdicts });
  }

  /** Some of the stale reads. */
  get stale(): readonly StaleRead[] {
    return [...this.#lives.values()].flatMap((life) => life.stale).slice(0, 10);
  }

  get staleLists(): readonly string[] {
    return [...this.#lives.values()].flatMap((life) => life.staleLists).slice(0, 10);
  }

  /** Of lists and product pages. */
  get lists(): ListVerdicts {
    const sum = { checked: 0, stale: 0, unjudged: 0 };
    for (const { lists } of this.#lives.values()) {
      sum.checked += lists.checked;
      sum.stale += lists.stale;
      sum.unjudged += lists.unjudged;
    }
    return sum;
  }

  get verdicts(): Verdicts {
    const sum = { checked: 0, stale: 0, lagging: 0, unjudged: 0 };
    for (const { verdicts: one } of this.#lives.values()) {
      sum.checked += one.checked;
      sum.stale += one.stale;
      sum.lagging += one.lagging;
      sum.unjudged += one.unjudged;
    }
    return sum;
  }
}

function latencies(): Record<Timing, LatencyHistogram> {
  const entries = TIMINGS.map((name) => [name, new LatencyHistogram()] as const);
  return Object.fromEntries(entries) as Record<Timing, LatencyHistogram>;
}
