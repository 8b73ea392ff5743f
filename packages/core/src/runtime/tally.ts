import type { BufferState } from '../contracts/events.js';
import type { Figures } from '../contracts/fleet.js';
import type { CacheOutcome, MissReason } from '../contracts/outcome.js';

/** Counts what one collection, or view, does. Hot path: a field is added to, and nothing is made. */
export class Tally implements Figures {
  /** `undefined`: its writes are never buffered. */
  buffer: BufferState | undefined;

  hits = 0;
  loads = 0;
  loadedRows = 0;
  readonly misses: Record<MissReason, number> = {
    absent: 0,
    undecodable: 0,
    schema: 0,
    integrity: 0,
    shape: 0,
    expired: 0,
    changed: 0,
    unavailable: 0,
    fresh: 0,
    off: 0,
  };
  readonly writes: Record<CacheOutcome | 'buffered', number> = {
    updated: 0,
    invalidated: 0,
    queued: 0,
    deferred: 0,
    buffered: 0,
  };
}
