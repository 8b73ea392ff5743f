/**
 * The cache's state after a write that the store has committed.
 *
 * - `updated`: the cache holds this write or a newer one
 * - `invalidated`: no reader gets anything older from the cache; the next one loads
 * - `queued`: the cache did not answer; the queue has the invalidation
 * - `deferred`: neither cache nor queue answered; the change feed has it (or, where the store has
 *   none, nothing does: the entry may be stale until it expires)
 */
export type CacheOutcome = 'updated' | 'invalidated' | 'queued' | 'deferred';

/** Why a read was not answered by the cache, as in the event `miss`. */
export type MissReason =
  | 'absent'
  | 'undecodable'
  | 'schema'
  | 'integrity'
  | 'shape'
  | 'expired'
  | 'changed'
  | 'unavailable'
  | 'fresh'
  | 'off';
