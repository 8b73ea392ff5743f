import type { BufferState } from './events.js';
import type { NearStatus } from './near.js';
import type { CacheOutcome, MissReason } from './outcome.js';
import type { RelayStatus } from './relay.js';
import type { LockstepStatus } from './status.js';

/** The counts of a collection, or a view, since its process declared it. */
export interface Figures {
  /** Reads that the cache answered. */
  readonly hits: number;
  /** Reads that it did not, by reason. */
  readonly misses: Readonly<Record<MissReason, number>>;
  /** Statements, or loads of a view, that misses led to, and the rows that they asked for. */
  readonly loads: number;
  readonly loadedRows: number;
  /** Rows written, by what became of the cache; `buffered`: acknowledged before the store has them. */
  readonly writes: Readonly<Record<CacheOutcome | 'buffered', number>>;
}

/** The settings of a collection or a view that an operator asks for. Times are in ms. */
export type AnnouncedSettings = Readonly<Record<string, string | number | boolean>>;

export interface AnnouncedPart {
  readonly kind: 'collection' | 'view';
  readonly name: string;
  readonly settings: AnnouncedSettings;
  readonly figures: Figures;
  /** The state of the buffer; absent: writes are never buffered. */
  readonly buffer?: BufferState;
  /** Its near entries; absent: it has none. Their hits are among the hits above. */
  readonly near?: Omit<NearStatus, 'collection'>;
}

/** The notice of one process: no keys, no values, no addresses of servers. Times are in ms. */
export interface Announcement {
  /** Unique for each Lockstep of each process. */
  readonly id: string;
  readonly name: string;
  readonly host: string;
  readonly pid: number;
  /** The version of Node.js. */
  readonly node: string;
  /** Since the epoch, by the process's own clock. */
  readonly startedAtMs: number;
  readonly atMs: number;
  /** How often it says so. It counts as gone after three times as long. */
  readonly intervalMs: number;
  readonly cache: {
    readonly name: string;
    readonly enabled: boolean;
    readonly switchedOff: LockstepStatus['switchedOff'];
    readonly breaker: 'open' | 'half-open' | 'closed';
    /** Why the breaker is open, in the server's words. */
    readonly cause?: string;
  };
  /** The queue's kind; `null`: there is none. */
  readonly queue: string | null;
  /** `null`: the process runs no relay. */
  readonly relay: Omit<RelayStatus, 'refused'> | null;
  readonly parts: readonly AnnouncedPart[];
  /** Parts that were left out, so that the whole stays short. */
  readonly omitted: number;
  /** Facts that tools have added with {@link Fleet.describe}. */
  readonly facts: Readonly<Record<string, unknown>>;
}

/** Options of the notice by which other processes of the cache know this one: see `Lockstep.fleet`. */
export interface AnnounceOptions {
  /** Say that this process is alive, with its figures and settings: one short write to the cache in each interval. @defaultValue true */
  readonly enabled?: boolean;
  /** The process's name for operators. @defaultValue the host's name */
  readonly name?: string;
  /** How often, in ms. @defaultValue 5_000 */
  readonly intervalMs?: number;
}

/** The processes that use a cache of one prefix: applications and workers. */
export interface Fleet {
  /** The notice of this process, now. */
  own(): Announcement;
  /**
   * Those that are alive, this one first: what each said last. At most 200; of a cache that keeps no notices (in memory)
   * this one alone. Rejects with `CacheUnavailableError`.
   */
  list(): Promise<readonly Announcement[]>;
  /** Adds to what this process says of itself, under `facts`. Returns what takes it back. `facts` gives short JSON. */
  describe(name: string, facts: () => unknown): () => void;
}
