import type { CacheOutcome, RowOutcome } from '../contracts/api.js';
import type { Change } from '../contracts/feed.js';
import type { Transaction } from '../contracts/options.js';
import type { StoreTransaction, TransactionHost } from '../contracts/store.js';
import { NO_VERSION, type Version } from '../contracts/version.js';
import { InvalidOptionError, type LockstepError, TransactionOverError } from '../errors.js';
import type { Reservation } from './reservation.js';

/** A collection as a transaction sees it. */
export interface TransactionParticipant {
  readonly name: string;
  /** The name of its rows in the change list. */
  readonly source: string;
  /** Its rows have versions. */
  readonly versioned: boolean;
  /** It has to learn of changes before the commit. */
  readonly announces: boolean;
  /** Before the commit: makes rows unreadable that others' statements have changed, where that has to come first. */
  announceTransaction(changes: readonly Change[], tx: LockstepTransaction): Promise<void>;
  /** After the commit: brings each key in step with what the transaction left there, its own writes or others'. */
  publishTransaction(
    changes: readonly Change[],
    part: TransactionPart,
    storeMs: number,
  ): Promise<ReadonlyMap<string, KeyOutcome>>;
  abandonTransaction(key: string, reservation: Reservation): void;
}

/** The end of one key after the commit. */
export interface KeyOutcome {
  readonly version: Version;
  readonly cache: CacheOutcome;
}

/** The ends of each participant's keys. */
export type TransactionOutcome = ReadonlyMap<TransactionParticipant, ReadonlyMap<string, KeyOutcome>>;

/** The rows that were changed, collection by collection. Without a version there is no change. */
export function rowOutcomes(outcome: TransactionOutcome): RowOutcome[] {
  return [...outcome].flatMap(([{ name: collection, versioned }, keys]) =>
    [...keys].flatMap(([key, { cache, version }]) =>
      versioned && version === NO_VERSION ? [] : { collection, key, version, cache },
    ),
  );
}

/** A collection's own write inside a transaction. */
export interface TransactionWrite {
  readonly reservation: Reservation;
  /** The row's value after it; `null`: deleted. */
  readonly value: unknown;
  readonly version: Version;
  readonly ttlMs: number;
  /** The row was read at the end of the transaction: so it is committed, changed or not. */
  readonly final: boolean;
}

/** A participant's doings in a transaction, by key. */
export interface TransactionPart {
  /** For after the commit; the last one of a key counts. */
  readonly writes: Map<string, TransactionWrite>;
  /** Keys whose buffered write was flushed in the transaction. */
  readonly flushed: Set<string>;
  /** Told of the commit, before the cache is brought in step with it. */
  committed: (() => void) | undefined;
}

/** An open transaction, and what the cache must be told after its commit. */
export class LockstepTransaction implements Transaction {
  /** From when on the store refuses its statements, by the process's monotonic clock. */
  readonly endsAtMs: number;
  readonly #host: TransactionHost;
  readonly #store: StoreTransaction;
  readonly #parts = new Map<TransactionParticipant, TransactionPart>();
  /** Why it takes no calls any more. */
  #over: string | undefined;
  #cause: unknown;
  #abandoned = false;
  /** Calls that have begun and not ended. */
  readonly #calls = new Set<Promise<unknown>>();

  constructor(host: TransactionHost, store: StoreTransaction, endsAtMs: number) {
    this.#host = host;
    this.endsAtMs = endsAtMs;
    this.#store = store;
  }

  /** Asked for only when the caller wants it: a store may take that for statements of the caller's own. */
  get client(): unknown {
    return this.#store.client;
  }

  /** A call of a collection of the same database. Rejects with `TransactionOverError`, or as the call does. */
  async call<T>(
    host: TransactionHost | undefined,
    collection: string,
    call: (tx: StoreTransaction) => Promise<T>,
  ): Promise<T> {
    if (this.#over !== undefined) throw this.#refusal(collection);
    if (host !== this.#host) {
      throw new InvalidOptionError(
        'options.tx',
        `is a transaction of another database than that of collection "${collection}"`,
        { collection },
      );
    }
    const calling = call(this.#store);
    this.#calls.add(calling);
    try {
      return await calling;
    } finally {
      this.#calls.delete(calling);
    }
  }

  #refusal(collection: string): LockstepError {
    const message = `collection "${collection}": the transaction is over: ${this.#over}`;
    return new TransactionOverError(message, { collection, cause: this.#cause });
  }

  partOf(participant: TransactionParticipant): TransactionPart {
    let part = this.#parts.get(participant);
    if (part === undefined) {
      part = { writes: new Map(), flushed: new Set(), committed: undefined };
      this.#parts.set(participant, part);
    }
    return part;
  }

  /** Notes a write for after the commit. Throws when there will be none. */
  wrote(participant: TransactionParticipant, key: string, write: TransactionWrite): void {
    if (this.#abandoned) {
      participant.abandonTransaction(key, write.reservation);
      throw this.#refusal(participant.name);
    }
    const { writes } = this.partOf(participant);
    const earlier = writes.get(key);
    if (earlier !== undefined && earlier.reservation.token !== write.reservation.token) {
      participant.abandonTransaction(key, earlier.reservation);
    }
    writes.set(key, write);
  }

  /**
   * Asks for everything that the transaction changed, by whatever statement, and announces before the commit what nobody
   * else has. Returns what gives the changes after the commit: with it, where they need not be known before.
   */
  async changes(participants: readonly TransactionParticipant[]): Promise<() => readonly Change[]> {
    const announcing = participants.filter(({ announces }) => announces);
    const later = announcing.length === 0 ? this.#store.changesWithCommit?.() : undefined;
    if (later !== undefined) return later;
    const changes = await this.#store.changes();
    await Promise.all(announcing.map((one) => one.announceTransaction(changesOf(one.source, changes), this)));
    return () => changes;
  }

  /** Takes no call from now on, nor does the store; what was sent goes on. */
  end(reason: string, cause?: unknown): void {
    if (this.#over !== undefined) return;
    this.#over = reason;
    this.#cause = cause;
    this.#store.seal?.();
  }

  /** Resolves once no call is under way. */
  async idle(): Promise<void> {
    while (this.#calls.size > 0) await Promise.allSettled(this.#calls);
  }

  /** Gives up every reservation: nothing was committed. */
  abandon(): void {
    this.#abandoned = true;
    for (const [participant, { writes }] of this.#parts) {
      for (const [key, write] of writes) participant.abandonTransaction(key, write.reservation);
    }
  }

  /** After the commit: each participant brings its keys in step with it. */
  async publish(
    changes: readonly Change[],
    participants: readonly TransactionParticipant[],
    storeMs: number,
  ): Promise<TransactionOutcome> {
    const all = [...new Set([...participants, ...this.#parts.keys()])];
    const publishing = all.map(
      async (one) =>
        [
          one,
          await one.publishTransaction(changesOf(one.source, changes), this.partOf(one), storeMs),
        ] as const,
    );
    return new Map(await Promise.all(publishing));
  }
}

function changesOf(source: string, changes: readonly Change[]): readonly Change[] {
  return changes.filter((change) => change.source === source);
}
