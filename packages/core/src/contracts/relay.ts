/** How a relay works. */
export interface RelayOptions {
  /** The most changes per cache call. @defaultValue 500 */
  readonly batchSize?: number;
  /** Hand what the cache refuses to the queue instead of leaving it in the feed. @defaultValue true when there is a queue */
  readonly useQueue?: boolean;
}

/** A relay's work so far. */
export interface RelayStatus {
  readonly running: boolean;
  /** Why it does nothing for some tables, e.g. since they belong to a cache of another prefix. Absent: there are none. */
  readonly refused?: readonly string[];
  /** Changes handled since the start. */
  readonly handled: number;
  /** Entries among them that were older and are holes now. */
  readonly floored: number;
  /** Invalidations among them that went to the queue, because the cache did not take them. */
  readonly queued: number;
  /** How old the newest handled changes were when they were dealt with, in ms. */
  readonly lagMs: { readonly p50: number; readonly p99: number; readonly p999: number; readonly max: number };
}

/** Turns change feeds into invalidations; the worker runs one, and an application may embed one. */
export interface Relay {
  status(): RelayStatus;
  /** Finishes the batches under way. */
  stop(): Promise<void>;
}
