import type { ChangeName } from './changes.js';

/** A rule that is taken out: the run must find what that does. */
export const ROLLOUT_CONTROLS = {
  'no-shapes': 'entries do not say which columns they hold',
  'whole-rows': 'the old release sets the column that it does not know to its default, with each update',
} as const;

export type RolloutControl = keyof typeof ROLLOUT_CONTROLS;

export interface RolloutSettings {
  readonly change: ChangeName;
  readonly control: RolloutControl | undefined;
  readonly serializer: 'json' | 'msgpack';
  readonly seed: number;
  /** Calls of each application in each step. */
  readonly calls: number;
}

export interface ApplicationSettings extends Omit<RolloutSettings, 'calls'> {
  /** Counts the run's applications. */
  readonly index: number;
  readonly release: 'old' | 'fresh';
  readonly postgresUrl: string;
  readonly redisUrl: string;
  readonly table: string;
  readonly shared: SharedArrayBuffer;
}

export interface RolloutResult {
  readonly change: ChangeName;
  readonly control?: RolloutControl;
  readonly calls: number;
  /** What a reader got wrong, which call failed, and which write the table has lost. */
  readonly problems: readonly string[];
}
