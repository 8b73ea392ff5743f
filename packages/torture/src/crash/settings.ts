import type { ControlName } from './controls/names.js';

export type StoreName = 'postgres' | 'mongo';
export type AppendFsync = 'always' | 'everysec' | 'no' | 'off';
export type Durability = 'memory' | 'disk';

/** What one run is to do. */
export interface CrashSettings {
  readonly kills: number;
  readonly store: StoreName;
  /** Kill the cache's server, too, and restart it with its data. */
  readonly redisRestart: boolean;
  readonly durability: Durability;
  /** Of the cache's server; `off`: no append-only file. */
  readonly appendfsync: AppendFsync;
  /** Of a killed cache server, what it had not brought to its disk goes with it, as if the machine had failed. */
  readonly powerLoss: boolean;
  readonly control: ControlName | undefined;
  readonly seed: number;
}

/** What a process of the run is told. */
export interface PartySettings {
  readonly store: StoreName;
  readonly storeUrl: string;
  readonly cacheUrl: string;
  readonly queueUrl: string;
  readonly durability: Durability;
  readonly control: ControlName | undefined;
}

/** What a child is told. */
export interface ChildSettings extends PartySettings {
  readonly role: 'application' | 'worker';
  /** Starts every token and every operation's number of this process. */
  readonly name: string;
  readonly seed: number;
}

/** All servers of the run are on one machine: their clocks are apart by how they round. */
export const MAX_CLOCK_SKEW_MS = 20;
