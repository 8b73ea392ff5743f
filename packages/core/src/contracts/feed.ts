import type { ChangedTexts } from './declared.js';
import type { ConsumerRegistry, ConsumerState } from './registry.js';
import type { KeptOfRow } from './tools.js';
import type { Version } from './version.js';

/** Rows that one transaction changed, or that the feed reports. */
export interface Change extends ChangedTexts {
  /** The store's name for what was changed, as in {@link StoreAdapter.source}. */
  readonly source: string;
  readonly key: string;
  readonly version: Version;
  readonly op: 'put' | 'delete';
  /** When the change was made, in ms since the epoch by the store's clock. */
  readonly changedAtMs: number;
}

/** How far behind the feed's readers are. */
export interface FeedStatus {
  /** Changes that nobody has acknowledged. */
  readonly pending: number;
  /** The age of the oldest of them in ms; `0` when there is none. */
  readonly oldestMs: number;
  /**
   * Changes that no consumer could be told of, e.g. of a row whose id can't be a key; counted since the feed began.
   *
   * @defaultValue 0
   */
  readonly setAside?: number;
  /** Faults that stop nothing, and should be mended. Absent when there are none. */
  readonly warnings?: readonly string[];
}

/** On whose behalf changes are claimed. */
export interface FeedClaimant {
  readonly consumer: string;
  /** The state that the consumer goes by at this moment; `undefined`: it takes no changes of the source now. */
  state(source: string): ConsumerState | undefined;
  /** Told that the registry says something else: the batch was not taken, and comes again. */
  differs(): Promise<void>;
}

export interface FeedConsumeOptions {
  readonly signal: AbortSignal;
  /** Only these sources. */
  readonly sources: readonly string[];
  /**
   * A change goes once every recorded consumer of its source has taken it. A batch counts as taken only if the
   * registry, in that moment, is in the state that the claimant went by. Absent: whoever takes a change removes it.
   */
  readonly claimant?: FeedClaimant;
  /**
   * The columns of a source whose texts the changes are to tell, as of now. A store that records texts with each change
   * tells those that it has recorded. @defaultValue none
   */
  readonly columns?: (source: string) => readonly string[];
  /** The most changes handed over at once. Default 500. */
  readonly batchSize?: number;
  /** Told of each failure, the handler's included; the feed itself goes on, with backoff. */
  readonly onError?: (error: unknown) => void;
  /**
   * Told when rows of a source may be gone that the feed can't name (it was dropped, or the feed's history
   * was lost): whatever a cache holds of it below `version`, or at all if that is `0`, must become unreadable. A
   * rejection has it told again.
   */
  readonly onReset?: ((source: string, version: Version) => Promise<void>) | undefined;
}

/** A change of a table's definition, which no change of the feed tells of. */
export interface Alteration {
  readonly source: string;
  /**
   * `altered`: the rows may have other values than before. `grown`: they have those that they had, and there is more (a
   * column), so that queries may find more. `detached`: the store does not record changes of the source's rows any more.
   */
  readonly kind: 'altered' | 'grown' | 'detached';
  /** Opaque: what the definition is now. */
  readonly state: string;
}

/** Notices what happens to the definitions of tables. */
export interface Alterations {
  /**
   * Answers the sources whose definition is another than the one that the consumer has dealt with last, whether
   * somebody looked meanwhile or not. Called every second.
   */
  check(consumer: string, sources: readonly string[]): Promise<readonly Alteration[]>;
  /** Notes that what was cached of before is unreadable. Does nothing where the source was altered again. */
  dealtWith(consumer: string, alteration: Alteration): Promise<void>;
}

/**
 * The durable list of changes, at least once, kept until handled; shared by all bindings of one
 * database, and compared by identity.
 */
export interface ChangeFeed {
  /** For messages and metrics, e.g. `postgres:shop`. */
  readonly name: string;
  /**
   * Hands changes to `handler` until the signal aborts, then resolves. A handler that resolves has
   * taken its batch; one that rejects gets it again, soon. Many consumers may run side by side.
   */
  consume(handler: (changes: readonly Change[]) => Promise<void>, options: FeedConsumeOptions): Promise<void>;
  /**
   * Says in the background that a writer has dealt with its own changes, so that its consumer need not.
   * Never waits, never throws, may forget: an acknowledgement that is lost costs one invalidation. It counts only
   * while the registry is in the state `under` which the changes were dealt with. Absent: as a claim without one.
   */
  acknowledge(changes: readonly Pick<Change, 'source' | 'key' | 'version'>[], under?: ConsumerState): void;
  /** Counts what waits for the consumer; without one, or where the store does not tell consumers apart, for anybody. */
  status(sources: readonly string[], consumer?: string): Promise<FeedStatus>;
  /**
   * Hands over again every change that was not dealt with at the oldest of a source's positions, whatever
   * its version: a transaction that was open then counts. A source without a position, or whose changes since
   * then the store can't tell any more (it was attached anew or restored, deletes are forgotten), is told to
   * `onReset` instead.
   */
  replay(
    since: ReadonlyMap<string, readonly string[]>,
    handler: (changes: readonly Change[]) => Promise<void>,
    options: FeedConsumeOptions,
  ): Promise<void>;
  readonly registry: ConsumerRegistry;
  /** The records of one row, for a person to look at. Absent: the store can't tell. */
  keptOf?(source: string, key: string): Promise<KeptOfRow>;
  /** Absent: the store's rows have no definition that changes their values. */
  readonly alterations?: Alterations;
  /** Sends what `acknowledge` still holds and ends what the feed opened. Nothing is consumed until `reopen`. */
  close(): Promise<void>;
  /**
   * Takes consumers again after `close`, even one that is still under way. Called when a Lockstep begins to use a feed that
   * no other uses. Absent: a feed that was closed stays so, and a relay over it fails with what `consume` rejects with.
   */
  reopen?(): void;
}
