import type { Identity } from '../processes/slot.js';
import type { ControlName } from './controls/names.js';

export type StoreName = 'postgres' | 'mongo';
export type AppendFsync = 'always' | 'everysec' | 'no' | 'off';
export type Durability = 'memory' | 'disk';

/** The settings of one run. */
export interface CrashSettings {
  readonly kills: number;
  readonly store: StoreName;
  /** Kill the cache's server, too, and restart it with its data. */
  readonly redisRestart: boolean;
  readonly durability: Durability;
  /** The `appendfsync` of the cache's server; `off`: no append-only file. */
  readonly appendfsync: AppendFsync;
  /** True: a killed cache server loses what it had not brought to its disk, as if the machine had failed. */
  readonly powerLoss: boolean;
  readonly control: ControlName | undefined;
  readonly seed: number;
}

/** The settings that a process of the run gets. */
export interface PartySettings {
  readonly store: StoreName;
  readonly storeUrl: string;
  readonly cacheUrl: string;
  readonly queueUrl: string;
  readonly durability: Durability;
  readonly control: ControlName | undefined;
}

/** The settings that a child gets. */
export interface ChildSettings extends Identity, PartySettings {}

/** All servers of the run are on one machine: their clocks are apart by how they round. */
export const MAX_CLOCK_SKEW_MS = 20;
