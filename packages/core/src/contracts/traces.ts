/** A field that a subscriber of a channel may set while `start` is published, so that the call runs in the subscriber's context. */
export interface TraceContext {
  /** Runs the call. Set by one subscriber at most: a tracer. */
  within?: <T>(call: () => T) => T;
}

/**
 * The messages of Lockstep's tracing channels (`node:diagnostics_channel`), by the channel's name behind
 * `tracing:lockstep.`. Node adds `result` where a call ends, and `error` where it fails. None of them holds a value or a key.
 */
export interface LockstepTraceMap {
  /** `get`, `getVersioned`, `refresh`, `getMany` of a collection, `get` and `page` of a view. */
  get: TraceContext & {
    /** The collection's name, or the view's. */
    readonly collection: string;
    readonly operation: 'get' | 'getMany' | 'view';
    /** How many are asked for. */
    readonly keys: number;
    /** The source of a single row. @see Versioned */
    readonly result?: { readonly from?: string } | unknown;
    readonly error?: unknown;
  };
  /** A write, until its caller has the answer. Of `putMany` and `deleteMany` each row has one of its own. */
  write: TraceContext & {
    readonly collection: string;
    readonly operation: 'create' | 'put' | 'patch' | 'delete' | 'increment' | 'update' | 'write';
    /** The call's result. @see WriteResult */
    readonly result?: unknown;
    readonly error?: unknown;
  };
  /** A call of the store that loads rows, for one or many readers; a view's query. */
  load: TraceContext & {
    readonly collection: string;
    readonly keys: number;
    readonly result?: unknown;
    readonly error?: unknown;
  };
  /** A batch of changes on its way into the cache. */
  relay: TraceContext & {
    /** The feed's name. */
    readonly feed: string;
    readonly changes: number;
    readonly error?: unknown;
  };
}

export type LockstepTraceName = keyof LockstepTraceMap;
