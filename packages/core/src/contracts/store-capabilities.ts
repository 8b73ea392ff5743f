/** The features of a store beyond reading and writing one key. Absent ones are `false`. */
export interface StoreCapabilities {
  /** Rows carry versions. `false`: the engine uses intents. */
  readonly versioned: boolean;
  /** `ifVersion` is honoured. Required by `update`. */
  readonly compareAndSet: boolean;
  /** `transactions` is there. */
  readonly transactions: boolean;
  /** Reads in a transaction honour `lock`. Otherwise those who lose a row to others try again. @defaultValue false */
  readonly locks?: boolean;
  /** `feed` is there. */
  readonly changeFeed: boolean;
  /** The feed's claims and acknowledgements are checked against its registry, which all processes share. @defaultValue false */
  readonly consumers?: boolean;
  /**
   * Rows that other programs write get their versions from the feed, after the fact: until then a row may be below
   * what it was, and so may the version of the next write of it. @defaultValue false
   */
  readonly adopts?: boolean;
  /** `increment` is honoured. */
  readonly increment: boolean;
  /** So are its `terms`. Otherwise increments of one row go one by one. @defaultValue false */
  readonly sums?: boolean;
  /** `patch` is honoured. Otherwise the engine reads rows, and puts them whole. @defaultValue false */
  readonly patch?: boolean;
  /** Nothing can be written: the engine refuses writes before anything is touched. @defaultValue false */
  readonly readOnly?: boolean;
  /** The store makes keys of new rows: `newRows` or `insert` is there. @defaultValue false */
  readonly create?: boolean;
  /** `restamp` is honoured. */
  readonly restamp: boolean;
  /** `flush` is honoured, with tombstones. Required by the buffer. */
  readonly flush: boolean;
  /** Reads with `primary: false` may come from a lagging replica. */
  readonly replicaReads: boolean;
  /** Many commands of one `write` travel in one round trip; otherwise each comes in a call of its own. */
  readonly batching: boolean;
  /** The same of `read`. @defaultValue as `batching` */
  readonly readBatching?: boolean;
}
