import type { Lockstep, RelayOptions } from '@lockstep/core';

/** The auditor: how closely it looks whether the cache has what the store has. */
export interface AuditOptions {
  /** Entries that are compared with their rows in a second, which are read for it. 0: none. @defaultValue 20 */
  readonly perSecond?: number;
}

/** The parts that a worker runs. A config file's default export is one, by way of {@link defineWorker}. */
export interface WorkerConfig {
  /**
   * The Lockstep whose feeds are relayed and whose queue is consumed, or a function that makes it: the
   * collections must be declared as the applications declare them (same names, stores and prefix).
   */
  readonly lockstep: Lockstep | (() => Lockstep | Promise<Lockstep>);
  /** Closes what the Lockstep was handed and does not own (a knex pool, a client). Called last. */
  readonly close?: () => Promise<void>;
  /** The address that the dashboard listens on. @defaultValue '127.0.0.1' */
  readonly host?: string;
  /** The dashboard's port; `0`: any free one. @defaultValue 4610 */
  readonly port?: number;
  /** The address that probes and metrics listen on. @defaultValue '127.0.0.1' */
  readonly metricsHost?: string;
  /** The port of probes and metrics; `0`: any free one. @defaultValue `port` + 1; any free one where `port` is 0 */
  readonly metricsPort?: number;
  /**
   * Names and addresses that clients may call either of them by, beside `localhost`, `host` and `metricsHost`, and the
   * address that they reach it at. @defaultValue none
   */
  readonly allowedHosts?: readonly string[];
  /**
   * What people must know to see the dashboard: 16 to 256 characters. Where `host` is not this machine alone, this or
   * `proxyUserHeader` is required. @defaultValue none: whoever reaches the port sees it
   */
  readonly token?: string;
  /**
   * The header in which a proxy in front of the dashboard names who has logged in, e.g. `x-forwarded-user`. Only for a
   * port that nobody reaches past the proxy. @defaultValue none
   */
  readonly proxyUserHeader?: string;
  /**
   * Shows BullMQ's own view of the queue on the dashboard, by bull-board, read-only and without values:
   * `npm install @bull-board/api @bull-board/ui`. @defaultValue false
   */
  readonly bullBoard?: boolean;
  /** The address of a bull-board that you run yourself: the dashboard links to it. @defaultValue none */
  readonly bullBoardUrl?: string;
  /** Not ready while the oldest change is older than this, in ms. @defaultValue 5_000 */
  readonly maxFeedLagMs?: number;
  /** Jobs of the queue handled at once. @defaultValue 16 */
  readonly concurrency?: number;
  /** How long a shutdown may take, in ms, before what is left is abandoned. @defaultValue 20_000 */
  readonly shutdownTimeoutMs?: number;
  /** `{ batchSize, useQueue }`. @defaultValue the relay's own */
  readonly relay?: RelayOptions;
  /** How closely the auditor looks. */
  readonly audit?: AuditOptions;
  /** Start although the queue's Redis may evict jobs. @defaultValue false */
  readonly allowQueueEviction?: boolean;
}

/** Types a worker's configuration; returns it as it is. */
export function defineWorker(config: WorkerConfig): WorkerConfig {
  return config;
}
