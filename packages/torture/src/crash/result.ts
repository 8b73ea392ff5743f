import type { ControlName } from './controls/names.js';
import type { CrashSettings } from './settings.js';

/** The result that a run writes. */
export interface CrashResult {
  readonly store: CrashSettings['store'];
  readonly seed: number;
  readonly control: ControlName | null;
  readonly redisRestart: boolean;
  readonly durability: CrashSettings['durability'];
  readonly appendfsync: CrashSettings['appendfsync'];
  readonly powerLoss: boolean;
  readonly servers: Readonly<Record<string, string>>;
  readonly kills: number;
  /** Kills of each kind; `both` counts once. */
  readonly killed: Readonly<Record<string, number>>;
  /** Writes that the parent had the acknowledgement of. */
  readonly acknowledged: number;
  readonly buffered: number;
  readonly committed: number;
  /** Begun, and nobody knows how they ended: their process was killed, or they failed. */
  readonly unanswered: number;
  readonly reads: number;
  /** Acknowledged writes whose effect is gone. */
  readonly lost: number;
  /** Writes whose versions contradict the order in time. */
  readonly reordered: number;
  /** Reads of less than an acknowledged write that was over before they began; entries that differ at the end. */
  readonly staleReads: number;
  /** Stale reads that the store answered because the cache could not be reached: it lacks what is buffered. */
  readonly staleFallbacks: number;
  /** Left at the end: unflushed keys, changes in the feed, entries that are not what the store has. */
  readonly left: { readonly unflushed: number; readonly pending: number; readonly differing: number };
  /** True when the run found nothing wrong. */
  readonly clean: boolean;
  /** By name: kinds of writes; buffered writes refused, by reason; flushes stored and superseded; background errors. */
  readonly counts: Readonly<Record<string, number>>;
  readonly seconds: { readonly load: number; readonly settle: number };
  /** The first of each kind, in words. */
  readonly examples: Readonly<Record<string, readonly string[]>>;
  /** By key, of the first faults' keys: each call in words, in ms of the machine's monotonic clock. */
  readonly timelines: Readonly<Record<string, readonly string[]>>;
}
