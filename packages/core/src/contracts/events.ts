import type { MissReason } from './outcome.js';
import type { RefusedWrite } from './queue.js';
import type { LockstepStatus } from './status.js';
import type { Version } from './version.js';

/**
 * The way of a collection's writes: to the store, into the buffer, or into it while the buffer is flushed
 * before they go to the store again.
 */
export type BufferState = 'synchronous' | 'buffering' | 'draining';

/**
 * Why a write was not buffered and went to the store: the cache could not be reached, may evict what it must keep,
 * or keeps no append-only file (`undurable`, with `durability: 'disk'`); the buffer is full; the key held nothing to
 * stand on; or the write came too late.
 */
export type BufferRefusal = 'away' | 'evicts' | 'undurable' | 'full' | 'unfit' | 'late';

/** The events, and what each carries. Times are in ms. */
export interface LockstepEventMap {
  /** A read answered by the cache, or by this process's near entries. */
  hit: {
    readonly collection: string;
    readonly key: string;
    readonly version: Version;
    readonly from: 'near' | 'cache';
    readonly stale: boolean;
    /** The time from the call to the cache's answer. */
    readonly durationMs: number;
  };
  /**
   * A read that the cache could not answer. `reason`: no usable entry, an entry that could not be read (`shape`: a
   * process that knows other columns made it), is only kept for `staleIfErrorMs` (`expired`), or one that a tag has ended
   * (`changed`: a write has reached what a view depends on; `invalidateTag`), or no cache (`off`: it is switched off).
   */
  miss: {
    readonly collection: string;
    readonly key: string;
    readonly reason: MissReason;
    /** The time from the call to the cache's answer, or to its failure. */
    readonly durationMs: number;
  };
  /** A load from the store, for one or many readers. */
  load: { readonly collection: string; readonly keys: number; readonly durationMs: number };
  /** A load that may not become the entry. */
  fillRefused: {
    readonly collection: string;
    readonly key: string;
    readonly reason: 'lost' | 'below-floor' | 'writers' | 'foreign' | 'payload-limit';
  };
  /** A write that was acknowledged. */
  write: {
    readonly collection: string;
    readonly key: string;
    readonly version: Version;
    readonly op: 'put' | 'patch' | 'delete' | 'increment' | 'transaction';
    readonly store: 'committed' | 'buffered';
    readonly cache: 'updated' | 'invalidated' | 'queued' | 'deferred';
    readonly storeMs: number;
    readonly cacheMs: number;
  };
  /** A put that the cache answered with a newer value or a hole. */
  putRefused: {
    readonly collection: string;
    readonly key: string;
    readonly version: Version;
    readonly reason: 'superseded' | 'floored';
  };
  /**
   * The circuit breaker in front of the cache. It is open, too, while hits are not believed because the cache
   * does not take invalidations.
   */
  breaker: {
    readonly state: 'open' | 'half-open' | 'closed';
    /** Why it opened, in the server's words. */
    readonly cause?: string;
    readonly error?: unknown;
    /** The one primary of several that it is about. Absent: the whole cache. */
    readonly primary?: string;
  };
  /** Invalidations that the queue took (or not) because the cache did not. Jobs that flush buffered writes don't count. */
  handover: { readonly jobs: number; readonly taken: boolean; readonly durationMs: number };
  /** A batch that the relay handled. */
  relay: {
    readonly feed: string;
    readonly changes: number;
    readonly floored: number;
    readonly queued: number;
    readonly lagMs: number;
    /** The first eight of them, for whoever checks what the relay does. */
    readonly sample: readonly { readonly source: string; readonly key: string }[];
  };
  /** Somebody has switched the cache off, or on again. */
  switch: LockstepStatus;
  /** The cache may have lost acknowledged writes; the feed is replayed. */
  cacheGeneration: { readonly generation: string };
  /**
   * The relay has made all that is cached of a table unreadable: its definition was altered in a way that may give its
   * rows other values, or it was detached. Told of each alteration once by each relay.
   */
  alteration: {
    readonly source: string;
    readonly kind: 'altered' | 'detached';
    readonly invalidated: number;
  };
  /**
   * The store does not keep a table in step any more (it was detached, its triggers were disabled): calls of its
   * collections go to the store, and nothing is cached; or it does so again.
   */
  suspension:
    | { readonly source: string; readonly state: 'suspended'; readonly reason: string }
    | { readonly source: string; readonly state: 'resumed' };
  /** A collection's writes go another way from now on. */
  buffer: { readonly collection: string; readonly state: BufferState };
  /** A write that was to be buffered and went to the store. */
  bufferRefused: { readonly collection: string; readonly key: string; readonly reason: BufferRefusal };
  /** A buffered write that the store has, or that it refused because it has a newer one: the one at `by`. */
  flush: {
    readonly collection: string;
    readonly key: string;
    readonly version: Version;
    readonly outcome: 'stored' | 'superseded';
    readonly by?: Version;
  };
  /** A buffered write that the store refused for good, told once. It is among the dead letters, where there is a queue. */
  flushRefused: {
    readonly collection: string;
    readonly key: string;
    readonly version: Version;
    readonly refused: RefusedWrite;
    readonly error: unknown;
  };
  /** Something failed where nobody waits for an answer. */
  error: { readonly where: string; readonly error: unknown };
}

export type LockstepEventName = keyof LockstepEventMap;

export type LockstepListener<Name extends LockstepEventName> = (event: LockstepEventMap[Name]) => void;

/**
 * Typed events. Listeners run synchronously. One that throws, or returns a promise that rejects, disturbs
 * nothing: it is told as an `error` event of `where: 'listener'`, or as a process warning where nobody listens to
 * those. Each event is also published on the diagnostics channel `lockstep:<name>`.
 */
export interface LockstepEvents {
  /** Returns a function that removes the listener. */
  on<Name extends LockstepEventName>(name: Name, listener: LockstepListener<Name>): () => void;
}
