import type { ListVerdicts, Outage, OutageAllowances, StaleRead, Verdicts } from '@lockstep/torture';
import type { AuditReport } from './application/audit.js';
import type { Inspection } from './application/inspect.js';
import type { ProductPage } from './engines/engine.js';
import type { Measures } from './measure.js';
import type { ProductRow, StoreAddress } from './stores/store.js';

export type EngineName = 'lockstep' | 'naive';

/** The configuration that an application process gets when it starts. */
export interface ApplicationConfig {
  /** From 0. */
  readonly process: number;
  readonly processes: number;
  /** How often it has been started before. */
  readonly life: number;
  /** 0: any. */
  readonly port: number;
  readonly seed: number;
  readonly products: number;
  readonly engine: EngineName;
  readonly store: StoreAddress;
  /** `null`: the cache is this process's own memory. */
  readonly cacheUrl: string | null;
  readonly queueUrl: string | null;
  readonly mix: string;
  readonly trace: string | null;
  readonly zipf: number | null;
  readonly allowances: OutageAllowances;
}

/** Rates of all processes together. */
export interface Rates {
  readonly readsPerSecond: number;
  readonly writesPerSecond: number;
}

/** The report that an application sends about ten times a second. */
export interface ApplicationReport {
  readonly measures: Measures;
  /** Since this process started. */
  readonly verdicts: Verdicts;
  readonly stale: readonly StaleRead[];
  /** Of lists and product pages, since this process started. */
  readonly lists: ListVerdicts;
  readonly staleLists: readonly string[];
  /** As `FactBuffer.take` gives them. */
  readonly facts: Float64Array;
  /** All facts before this time have been told. */
  readonly markMs: number;
  readonly breaker: 'open' | 'half-open' | 'closed';
}

/** A category's list and a product page, as a customer sees them. */
export interface WindowView {
  readonly products: readonly ProductRow[];
  readonly page: ProductPage;
}

/** The supervisor's calls to an application. */
export type ApplicationCalls = {
  readonly start: { readonly argument: ApplicationConfig; readonly reply: { readonly port: number } };
  /** Loads products `from` to `to`, ids inclusive, into the cache. */
  readonly warm: { readonly argument: { readonly from: number; readonly to: number }; readonly reply: null };
  readonly load: { readonly argument: Rates; readonly reply: null };
  /** Ends the load, and waits for what is under way; a last report comes before the reply. */
  readonly unload: { readonly argument: null; readonly reply: null };
  readonly judge: { readonly argument: { readonly horizonMs: number }; readonly reply: null };
  readonly audit: { readonly argument: null; readonly reply: AuditReport };
  readonly window: {
    readonly argument: { readonly category: string; readonly id: number };
    readonly reply: WindowView;
  };
  readonly inspect: { readonly argument: { readonly id: number }; readonly reply: Inspection };
  readonly stop: { readonly argument: null; readonly reply: null };
};

/** The supervisor's notices to an application. */
export type ApplicationNews = {
  readonly facts: { readonly facts: Float64Array | null; readonly horizonMs: number };
  readonly outages: readonly Outage[];
  /** Die (`SIGKILL`) between the commit of the next write and its cache update. */
  readonly dieMidWrite: null;
};

export type ApplicationTells = { readonly report: ApplicationReport };

export interface WorkerConfig {
  readonly store: StoreAddress;
  readonly cacheUrl: string;
  readonly queueUrl: string | null;
  readonly worker: number;
}

export type WorkerCalls = {
  readonly start: {
    readonly argument: WorkerConfig;
    /** The address of its health, metrics and dashboard. */
    readonly reply: { readonly url: string };
  };
  readonly stop: { readonly argument: null; readonly reply: null };
};

/** A batch of changes that the relay has dealt with; `atMs` is of the system's monotonic clock. */
export interface RelayedBatch {
  readonly changes: number;
  /** How old the oldest of them was. */
  readonly lagMs: number;
  readonly atMs: number;
}

export type WorkerTells = {
  readonly report: {
    readonly batches: readonly RelayedBatch[];
    readonly errors: readonly { readonly where: string; readonly message: string }[];
  };
};

export type Nothing = Readonly<Record<never, never>>;
