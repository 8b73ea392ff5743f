import type { CacheAdapter } from '@lockstep/core';
import type { KitOptions } from '../kit/runner.js';

/** An adapter for one case, and what the kit may do to it from behind. */
export interface CacheUnderTest {
  /** Open and ready; the kit closes it. Entries of other cases may be there: the kit's keys are unique. */
  readonly cache: CacheAdapter;
  /** Another client of the same cache, as another process would have; needed where `cache.shared`. The kit closes it. */
  readonly second?: CacheAdapter;
  /** Moves an injected clock; without it the kit waits for real time. */
  advance?(ms: number): Promise<void> | void;
  /** Removes a key as an eviction would. */
  evict?(key: string): Promise<void> | void;
  /** Cuts the adapter's connections, calls under way included; it may connect again. */
  cut?(): Promise<void> | void;
  /** Makes the server forget its scripts. */
  flushScripts?(): Promise<void> | void;
  /** Makes the server not answer, connections open, until `thaw`. */
  freeze?(): Promise<void> | void;
  thaw?(): Promise<void> | void;
  /** Runs at the end of the case, after the adapters are closed. */
  dispose?(): Promise<void> | void;
}

/** Hooks of {@link CacheUnderTest} that bring cases of their own. */
export type CacheHook = 'second' | 'evict' | 'cut' | 'flushScripts' | 'freeze';

export interface CacheConformanceOptions extends KitOptions {
  /** Makes an adapter, once per case. */
  readonly create: () => Promise<CacheUnderTest> | CacheUnderTest;
  /** The hooks that `create` gives; the kit fails when it gives others than these. @defaultValue none */
  readonly hooks?: readonly CacheHook[];
  /** The cache holds buffered writes: `cache.unflushed` is there. @defaultValue false */
  readonly buffer?: boolean;
  /** The cache keeps the notices of processes: `cache.notices` is there. @defaultValue false */
  readonly notices?: boolean;
  /** The cache tells of changes: `cache.watchChanges` is there. @defaultValue false */
  readonly changes?: boolean;
  /** The start of the kit's keys. @defaultValue 'wtc:conformance' */
  readonly keyPrefix?: string;
  /** Random command sequences compared with the reference. @defaultValue 100 */
  readonly propertyRuns?: number;
}
