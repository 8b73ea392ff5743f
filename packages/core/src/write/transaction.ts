import type { CacheOutcome } from '../contracts/api.js';
import type { Change } from '../contracts/feed.js';
import type { Transaction } from '../contracts/options.js';
import type { StoreTransaction, TransactionHost } from '../contracts/store.js';
import { NO_VERSION, type Version } from '../contracts/version.js';
import { InvalidOptionError, type LockstepError, TransactionOverError } from '../errors.js';
import type { Reservation } from './reservation.js';

/** One collection's part in a transaction: what is to be done for the cache once it has committed. */
export interface TransactionParticipant {
  /** The collection's. */
  readonly name: string;
  /**
   * Brings a key in step with what the transaction left there.
   *
   * @param absent whether that is no row; `undefined`: the change list does not say
   */
  publishTransaction(
    key: string,
    write: TransactionWrite | undefined,
    version: Version,
    absent: boolean | undefined,
    storeMs: number,
  ): Promise<KeyOutcome>;
  abandonTransaction(key: string, reservation: Reservation): void;
  /** Makes a row unreadable that another's statement has changed, where that has to come before the commit. */
  announceTransaction(key: string, tx: LockstepTransaction): Promise<void>;
}

/** What became of one key after the commit. */
export interface KeyOutcome {
  readonly version: Version;
  readonly cache: CacheOutcome;
}

/** What became of each participant's keys after the commit. */
export type TransactionOutcome = ReadonlyMap<TransactionParticipant, ReadonlyMap<string, KeyOutcome>>;

/** A collection's own write inside a transaction. */
export interface TransactionWrite {
  readonly reservation: Reservation;
  /** What the row holds after it; `null`: deleted. */
  readonly value: unknown;
  readonly version: Version;
  readonly ttlMs: number;
  /** The row was read at the end of the transaction: so it is committed, changed or not. */
  readonly final: boolean;
}

/** What a participant has done in a transaction, by key. */
export interface TransactionPart {
  /** For after the commit; the last one of a key counts. */
  readonly writes: Map<string, TransactionWrite>;
  /** Keys whose buffered write was flushed in the transaction. */
  readonly flushed: Set<string>;
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
      part = { writes: new Map(), flushed: new Set() };
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

  /** Everything that the transaction changed, asked before the commit. */
  async changes(): Promise<readonly Change[]> {
    return await this.#store.changes();
  }

  /** Before the commit: what statements of the caller's own have changed, they have announced to nobody. */
  async announce(
    changes: readonly Change[],
    bySource: ReadonlyMap<string, readonly TransactionParticipant[]>,
  ): Promise<void> {
    const announcing = changes.flatMap(({ source, key }) =>
      (bySource.get(source) ?? [])
        .filter((participant) => !this.partOf(participant).writes.has(key))
        .map((participant) => participant.announceTransaction(key, this)),
    );
    await Promise.all(announcing);
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

  /** After the commit: puts the collections' own writes, and floors what other statements changed. */
  async publish(
    changes: readonly Change[],
    bySource: ReadonlyMap<string, readonly TransactionParticipant[]>,
    storeMs: number,
  ): Promise<TransactionOutcome> {
    const outcome = new Map<TransactionParticipant, Map<string, KeyOutcome>>();
    const work: Promise<void>[] = [];
    const publishKey = (
      participant: TransactionParticipant,
      key: string,
      version: Version,
      absent?: boolean,
    ): void => {
      const write = this.partOf(participant).writes.get(key);
      const keys = outcome.get(participant) ?? new Map<string, KeyOutcome>();
      outcome.set(participant, keys.set(key, { version, cache: 'deferred' }));
      const publishing = participant.publishTransaction(key, write, version, absent, storeMs);
      work.push(publishing.then((published) => void keys.set(key, published)));
    };
    for (const { source, key, op, version } of changes) {
      const absent = op === 'delete';
      for (const participant of bySource.get(source) ?? []) publishKey(participant, key, version, absent);
    }
    for (const [participant, { writes }] of this.#parts) {
      for (const [key, { final, version }] of writes) {
        if (outcome.get(participant)?.has(key)) continue;
        // A write that is no change was taken back, with a savepoint: its value is nobody's.
        publishKey(participant, key, final ? version : NO_VERSION);
      }
    }
    await Promise.all(work);
    return outcome;
  }
}
