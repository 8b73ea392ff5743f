/**
 * Entries in this process, in front of the cache: `get`, `getVersioned`, `getMany` and `page` take them without asking the cache,
 * for as long as the cache's messages about changes are proven to arrive. A version may be served for up to `maxStaleMs`
 * after a newer one was acknowledged in another process; a write of this process is seen at once. At least one of
 * `maxItems` and `maxBytes` is given.
 */
export interface NearBounds {
  /** The most entries; the least recently used goes first. @defaultValue none: `maxBytes` alone */
  readonly maxItems?: number;
  /** The most bytes of keys and values, about, as JSON or the collection's serializer counts them. @defaultValue none: `maxItems` alone */
  readonly maxBytes?: number;
  /**
   * For how long after an acknowledged write other processes may serve the version before it, in ms. The cache is pinged
   * about three times as often while there are reads.
   *
   * @defaultValue 1_000 ms
   */
  readonly maxStaleMs?: number;
}

/** Near entries of a collection. */
export interface NearOptions extends NearBounds {
  /**
   * Asks the cache before each hit whether its version is still that: one round trip without the value, for values that are
   * long. Nothing is served late then, and nothing has to be watched. Not with `maxStaleMs`, nor with `tags`.
   *
   * @defaultValue false
   */
  readonly validate?: boolean;
}

/** Near entries of a collection, or a view, since the process began. */
export interface NearStatus {
  /** Its name. */
  readonly collection: string;
  readonly items: number;
  /** As `maxBytes` counts; 0 without it. */
  readonly bytes: number;
  /** Reads that were answered here. */
  readonly hits: number;
  /** Reads that asked the cache. */
  readonly misses: number;
  /** Entries that a change has taken out. */
  readonly dropped: number;
  /** False: nothing is served, since the cache's messages are not known to arrive. True where each hit is validated. */
  readonly live: boolean;
}
