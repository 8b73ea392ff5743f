import type { StaleRead } from '@lockstep/torture';
import type { AuditReport } from './application/audit.js';
import type { Failure } from './measure.js';
import type { DemoOptions } from './options.js';
import type { Latency, Totals } from './supervisor/totals.js';

export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
  readonly count: number;
}

/** The figures of a run, while it lasts and at its end. */
export interface Figures {
  readonly reads: number;
  readonly writes: number;
  /** Reads that the cache answered, of all; 0 to 1. */
  readonly hitRate: number;
  /** Statements that were sent to the store for reads, the warming up apart. */
  readonly storeQueries: number;
  /** Rows that those asked for. */
  readonly storeRows: number;
  readonly warmupQueries: number;
  /** 1 - storeQueries / reads. */
  readonly storeLoadReduction: number;
  readonly staleReads: number;
  /** Older than a write of which only the relay's lag is promised, within that lag. */
  readonly laggingReads: number;
  readonly checkedReads: number;
  readonly unjudgedReads: number;
  /** Reads of lists and product pages, through views. */
  readonly viewReads: number;
  /** Those that the store answered. */
  readonly viewLoads: number;
  readonly reviewWrites: number;
  readonly checkedViews: number;
  /** They lacked a row, or showed one as it was before a write that was acknowledged before they began. */
  readonly staleViews: number;
  readonly unjudgedViews: number;
  readonly failedReads: number;
  /** Every write that was rejected, those of unknown outcome included. */
  readonly failedWrites: number;
  /** Those of `failedWrites` that may have been committed all the same: their reply was lost, or late. */
  readonly unknownWrites: number;
  /** Due on the schedule and never started: the machine, or a broken server, was too slow. */
  readonly skippedReads: number;
  readonly skippedWrites: number;
  readonly httpReads: number;
  readonly httpWrites: number;
  readonly coalescedWrites: number;
  readonly cacheOutcomes: {
    readonly updated: number;
    readonly invalidated: number;
    readonly queued: number;
    readonly deferred: number;
  };
  readonly faults: Readonly<Record<string, number>>;
  /** While cache and store could be reached. */
  readonly feedLagMs: Percentiles;
  /** The lag of changes that an outage of either held up. */
  readonly feedLagInOutagesMs: Percentiles;
  readonly readMs: Percentiles;
  readonly writeMs: Percentiles;
  readonly writeStoreMs: Percentiles;
  readonly writeCacheMs: Percentiles;
  readonly httpMs: Percentiles;
  readonly cacheDownMs: number;
  /** Without a primary. */
  readonly storeDownMs: number;
  /** Examples of rejected calls. */
  readonly failures: readonly Failure[];
  /** Examples of what went wrong where no caller waits for it; Lockstep tries it again by itself. */
  readonly backgroundErrors: readonly Failure[];
  readonly staleSamples: readonly StaleRead[];
  readonly staleViewSamples: readonly string[];
}

/** The figures that are known only at the end. */
export interface FinalFigures extends Figures {
  /** Seconds of load. */
  readonly seconds: number;
  readonly auditedEntries: number;
  readonly auditedHoles: number;
  readonly auditMismatches: number;
  readonly auditSamples: readonly string[];
  /** The feed was empty before the audit. */
  readonly feedDrained: boolean;
  readonly unexpectedExits: number;
  readonly seed: number;
  readonly engine: string;
  readonly store: string;
  readonly mix: string;
  readonly options: DemoOptions;
  readonly versions: Readonly<Record<string, string>>;
  readonly notes: readonly string[];
}

export interface FiguresInput {
  readonly totals: Totals;
  readonly faults: Readonly<Record<string, number>>;
  readonly feedLag: Latency;
  readonly feedLagInOutages: Latency;
  readonly cacheDownMs: number;
  readonly storeDownMs: number;
}

export function figuresOf(input: FiguresInput): Figures {
  const { totals, faults, feedLag, feedLagInOutages, cacheDownMs, storeDownMs } = input;
  const { counts, lists, timings, verdicts } = totals;
  return {
    reads: counts.reads,
    writes: counts.writes,
    hitRate: share(counts.hits, counts.reads),
    storeQueries: counts.storeQueries,
    storeRows: counts.storeRows,
    warmupQueries: counts.warmupQueries,
    storeLoadReduction: counts.reads === 0 ? 0 : 1 - counts.storeQueries / counts.reads,
    staleReads: verdicts.stale,
    laggingReads: verdicts.lagging,
    checkedReads: verdicts.checked,
    unjudgedReads: verdicts.unjudged,
    viewReads: counts.viewReads,
    viewLoads: counts.viewLoads,
    reviewWrites: counts.reviewWrites,
    checkedViews: lists.checked,
    staleViews: lists.stale,
    unjudgedViews: lists.unjudged,
    failedReads: counts.failedReads,
    failedWrites: counts.failedWrites,
    unknownWrites: counts.unknownWrites,
    skippedReads: counts.skippedReads,
    skippedWrites: counts.skippedWrites,
    httpReads: counts.httpReads,
    httpWrites: counts.httpWrites,
    coalescedWrites: counts.coalesced,
    cacheOutcomes: {
      updated: counts.updated,
      invalidated: counts.invalidated,
      queued: counts.queued,
      deferred: counts.deferred,
    },
    faults,
    feedLagMs: feedLag,
    feedLagInOutagesMs: feedLagInOutages,
    readMs: timings.readMs.summary,
    writeMs: timings.writeMs.summary,
    writeStoreMs: timings.writeStoreMs.summary,
    writeCacheMs: timings.writeCacheMs.summary,
    httpMs: timings.httpMs.summary,
    cacheDownMs: Math.round(cacheDownMs),
    storeDownMs: Math.round(storeDownMs),
    failures: totals.failures.list,
    backgroundErrors: totals.backgroundErrors.list,
    staleSamples: totals.stale,
    staleViewSamples: totals.staleLists,
  };
}

export function finalFigures(
  figures: Figures,
  audit: AuditReport,
  rest: Pick<
    FinalFigures,
    | 'seconds'
    | 'feedDrained'
    | 'unexpectedExits'
    | 'seed'
    | 'engine'
    | 'store'
    | 'mix'
    | 'options'
    | 'versions'
    | 'notes'
  >,
): FinalFigures {
  return {
    ...figures,
    auditedEntries: audit.entries,
    auditedHoles: audit.holes,
    auditMismatches: audit.mismatches,
    auditSamples: audit.samples,
    ...rest,
  };
}

function share(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}
