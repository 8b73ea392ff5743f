/**
 * A cached collection as a store records it, so that whoever changes a row, in whatever process, can keep
 * the cache's entry in step.
 */
export interface RecordedCollection {
  /** Unique within its consumer. */
  readonly name: string;
  readonly source: string;
  /** The start of the cache's keys, before the row's key. */
  readonly keyPrefix: string;
  /** How long an invalidation's hole lives, in ms. */
  readonly holeTtlMs: number;
  /** True: an invalidation leaves a hole on an empty key, too. */
  readonly holeOnEmpty: boolean;
  /**
   * Columns of a unique index: the keys are made of their texts, not of rows' keys. A change makes what is cached there
   * unreadable whatever its version, since versions order one row, not the two that may have had a value. Absent: rows.
   */
  readonly lookup?: readonly string[];
  /**
   * Lists of columns, each sorted: the keys are tags of a collection's rows, and end with each change of a row that they
   * name. Absent: rows, or a lookup.
   */
  readonly tags?: readonly (readonly string[])[];
}

/** Under which state of the registry something was done. */
export interface ConsumerState {
  readonly consumer: string;
  readonly source: string;
  readonly revision: number;
  readonly epoch: number;
}

/** A store's record of one consumer and one source. A consumer is a cache: the Lockstep's prefix names it. */
export interface ConsumerRecord extends ConsumerState {
  /** The collections that are kept in step. The revision grows with each change of them. */
  readonly collections: readonly RecordedCollection[];
  /** The identity of the cache's primaries that the epoch is bound to; `undefined` while the epoch is `0`. */
  readonly identity: string | undefined;
  /** Identities that were replaced, the latest at the end. Bounded. */
  readonly left: readonly string[];
  /** The cache is switched off, for every process: reads go to the store, and writes and relays go on to invalidate. */
  readonly switchedOff: boolean;
  /** False until what the cache may lack since the epoch began was handed over. */
  readonly replayed: boolean;
  /** How long ago the revision changed, in ms by the store's clock. */
  readonly changedAgoMs: number;
  /**
   * The consumer has dealt with every change before this point of the store's history, as long as the epoch
   * stands. Opaque. Given by `observe`; `undefined` where the store can't tell now.
   */
  readonly position: string | undefined;
}

/** One of the caches that a store records for a source. */
export interface RecordedConsumer {
  readonly consumer: string;
  readonly source: string;
  /** Names of collections. */
  readonly collections: readonly string[];
  /** True since a process that used it has closed it in order, and none was seen that uses it still. */
  readonly ended: boolean;
}

/** The epochs of sources, by source. */
export type Epochs = ReadonlyMap<string, number>;

/**
 * The record of the caches that are kept in step with a store's rows. It is part of the store, since a process that writes
 * has to know all of them before it acknowledges, and may die before it could tell another.
 *
 * An epoch is a time in which one identity of the cache's primaries held. It grows with each change of the
 * identity, and whenever the store's own history may have a gap (the source was attached anew, the database was
 * restored or failed over). One that was left never returns.
 */
export interface ConsumerRegistry {
  /**
   * Records collections, unless they are recorded already; one of the same name is replaced. Answers for
   * each of their sources. When it resolves everyone who reads from now on sees them.
   */
  register(consumer: string, collections: readonly RecordedCollection[]): Promise<readonly ConsumerRecord[]>;
  /** Everyone who is recorded for one of the sources. */
  consumers(sources: readonly string[]): Promise<readonly RecordedConsumer[]>;
  /**
   * Removes a consumer's records of these sources: the cache is used no more. What was kept for it alone goes. A process
   * that does use it caches nothing until it has recorded itself again, which it does by itself.
   */
  forget(consumer: string, sources: readonly string[]): Promise<void>;
  /** Notes that a process that used the consumer has closed it. `register` and `observe` take that back. */
  end(consumer: string, sources: readonly string[]): Promise<void>;
  /**
   * Switches a consumer's cache off, or on again, for every process: all records of the consumer say so, and those that
   * are made later while one of them does. Answers their sources; none: it has no record.
   */
  switch(consumer: string, off: boolean): Promise<readonly string[]>;
  /** The records of those sources that have one. */
  read(consumer: string, sources: readonly string[]): Promise<readonly ConsumerRecord[]>;
  /**
   * Commits a new epoch for each source whose recorded identity is another one. An identity that was
   * replaced before returns only when whoever replaced it was not observed for some seconds. Answers as `read`.
   */
  observe(consumer: string, sources: readonly string[], identity: string): Promise<readonly ConsumerRecord[]>;
  /**
   * Makes one relay of many replay an epoch. Answers the sources that `holder` may replay: those that are at
   * this epoch, not replayed, and that nobody else holds. Called again it renews.
   */
  lease(consumer: string, epochs: Epochs, holder: string, leaseMs: number): Promise<readonly string[]>;
  /**
   * Says that what the epochs may lack was handed over. Nothing where the registry is at another epoch, or where
   * `holder` does not hold it: the record may have been lost, and made anew, since `holder` leased it.
   */
  replayed(consumer: string, epochs: Epochs, holder: string): Promise<void>;
  /** Gives leases back. */
  release(consumer: string, holder: string): Promise<void>;
}
