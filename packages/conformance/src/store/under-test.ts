import type { DeclaredSets, StoreAdapter, StoreCapabilities } from '@lockstep/core';
import type { KitOptions } from '../kit/runner.js';

/** A store binding for one case, what to write into it, and what the kit may do to it from behind. */
export interface StoreUnderTest<Value, Id> {
  /** Open and ready; the kit closes it. Rows of other cases may be there: the kit's ids are new. */
  readonly store: StoreAdapter<Value, Id>;
  /** An id of its own for every `n` (1 to 2^31 - 1; the kit never uses one twice in a run). */
  id(n: number): Id;
  /** A row that may be stored under the id, different for every `n` (0 to 1,000,000). */
  value(id: Id, n: number): Value;
  /** True when a stored row is the one that was sent; by default when every property that was sent is deeply equal. */
  matches?(stored: Value, sent: Value): boolean;
  /** The numeric field that holds `n` in `value(id, n)`; needed for `increment`. */
  readonly counter?: string;
  /** A second binding of the same rows, as another process would have. The kit closes it. */
  readonly second?: StoreAdapter<Value, Id>;
  /** A value that the store refuses (a constraint), for this id. */
  refusedValue?(id: Id): Value;
  /**
   * A value without its key, different for every `n`, for a store that makes keys; as stored it `matches` what was sent.
   */
  newValue?(n: number): Value;
  /** Ids that `keyOf` must throw `InvalidIdError` for. */
  readonly badIds?: readonly unknown[];
  /** Pairs of ids that name one row. */
  readonly sameRow?: readonly (readonly [Id, Id])[];
  /** Changes a row (`null`: deletes it) as another program would, past the adapter. */
  foreignWrite?(id: Id, value: Value | null): Promise<void>;
  /** The same with a statement of the user's own on a transaction's `client`. */
  writeInTransaction?(client: unknown, id: Id, value: Value | null): Promise<void>;
  /**
   * Sets of properties that are declared: `tags` of those of `value(id, n)`, `unique` of those of stored rows. @defaultValue none
   */
  readonly declared?: DeclaredSets;
  /** Moves an injected clock; without it the kit waits for real time. */
  advance?(ms: number): Promise<void> | void;
  /** Runs at the end of the case, after the adapters are closed. */
  dispose?(): Promise<void> | void;
}

/** Parts of {@link StoreUnderTest} that bring cases of their own. */
export type StoreHook =
  | 'second'
  | 'refusedValue'
  | 'newValue'
  | 'badIds'
  | 'sameRow'
  | 'foreignWrite'
  | 'writeInTransaction'
  | 'declared';

/** Capabilities that cases depend on. */
export type TestedCapability =
  | Exclude<keyof StoreCapabilities, 'replicaReads' | 'readOnly' | 'create'>
  | 'fence';

export interface StoreConformanceOptions<Value, Id> extends KitOptions {
  /** Makes an adapter, once per case. */
  readonly create: () => Promise<StoreUnderTest<Value, Id>> | StoreUnderTest<Value, Id>;
  /**
   * The capabilities that the adapter must have. The kit fails when it claims less, and when it claims something
   * that is set to `false` here, since that would go untested. @defaultValue everything
   */
  readonly requires?: Partial<Record<TestedCapability, boolean>>;
  /** The hooks that `create` gives; the kit fails when it gives others than these. @defaultValue none */
  readonly hooks?: readonly StoreHook[];
}
