import { CollectionBuffer } from '../buffer/buffer.js';
import type { CollectionContext } from '../collection/context.js';
import type { CacheOutcome } from '../contracts/api.js';
import type { StorePut, StoreRow } from '../contracts/store.js';
import { NO_VERSION } from '../contracts/version.js';
import { StoreRefusedError } from '../errors.js';
import type { StoreWrite } from './commands.js';
import { TransactionWrites } from './inside.js';
import type { Caller } from './pending-write.js';
import { Preparation, usesIntents } from './prepare.js';
import { type Detach, Publication } from './publish.js';
import { NOTHING } from './reservation.js';
import { type Answer, StoreCommit } from './store-commit.js';
import { ValueHints } from './value-hints.js';

/** The write path's needs of the read path. */
export interface ReadLinks {
  readonly detach: Detach;
  /** Brings a row into the cache. */
  readonly load: (key: string) => Promise<unknown>;
}

/**
 * The write path of a collection: prepare the cache, write to the store, publish to the cache. Group commit leads
 * through it, the caller's own transaction (`inside`), and the caller's own function.
 */
export class WritePath<Value> {
  /** Inside transactions. */
  readonly inside: TransactionWrites<Value>;
  /** Acknowledges writes before the store has them; `undefined`: none. */
  readonly buffer: CollectionBuffer<Value> | undefined;
  readonly #collection: CollectionContext<Value>;
  readonly #publication: Publication<Value>;
  readonly #commit: StoreCommit<Value>;

  constructor(collection: CollectionContext<Value>, { detach, load }: ReadLinks) {
    const { burst } = collection.settings;
    const flushKey =
      burst === undefined
        ? undefined
        : (key: string, patienceMs?: number): Promise<void> => this.flushKey(key, patienceMs);
    // With a buffer, hints may be below versions that another process has buffered since.
    const hints = usesIntents(collection) || burst !== undefined ? undefined : new ValueHints();
    const preparation = new Preparation(collection, hints, flushKey);
    const publication = new Publication(collection, preparation, hints, detach);
    const commit = new StoreCommit(collection, {
      cache: { preparation, publication },
      committed: (storeMs) => this.buffer?.committed(storeMs),
      // Others may buffer writes of a key between a write's preparation and another that would join it.
      preparesInTurn: burst !== undefined,
    });
    const payloadOf = publication.payloadOf.bind(publication);
    this.#collection = collection;
    this.#publication = publication;
    this.#commit = commit;
    this.buffer =
      burst && new CollectionBuffer(collection, { burst, writes: commit, payloadOf, detach, load });
    this.inside = new TransactionWrites(collection, preparation, publication, this.buffer);
  }

  /** As `submit`, of a caller who is told without a promise where nobody else has to be. */
  send(caller: Caller<StoreWrite<Value>, Answer<Value>>): void {
    const { buffers, events } = this.#collection;
    // Without any buffer, this collection has none either.
    if (buffers.none && !events.write.wanted) {
      this.#commit.send(caller);
      return;
    }
    this.submit(caller.request).then(
      (answer) => caller.resolve(answer),
      (error: Error) => caller.reject(error),
    );
  }

  /** By group commit, or through the buffer. Whoever does not wait for it has it counted as an activity. */
  submit(write: StoreWrite<Value>): Promise<Answer<Value>> {
    const { events } = this.#collection;
    const writing = this.buffer?.submit(write, () => this.#toStore(write)) ?? this.#toStore(write);
    return events.write.wanted ? writing.then((answer) => this.#told(write, answer)) : writing;
  }

  #toStore(write: StoreWrite<Value>): Promise<Answer<Value>> {
    return this.#collection.buffers.none ? this.#commit.submit(write) : this.#behindOthers(write);
  }

  /** A refused write that a buffered write of another row may allow is tried once more when the store has that. */
  async #behindOthers(write: StoreWrite<Value>): Promise<Answer<Value>> {
    const { buffers, store } = this.#collection;
    try {
      return await this.#commit.submit(write);
    } catch (error) {
      if (!(error instanceof StoreRefusedError) || !error.mayDependOnOthers) throw error;
      await buffers.flush(store.feed);
      return await this.#commit.submit(write);
    }
  }

  #told({ command }: StoreWrite<Value>, answer: Answer<Value>): Answer<Value> {
    const { outcome, cache, store, storeMs, cacheMs } = answer;
    const { events, settings } = this.#collection;
    if (store === 'pending' || cache === 'pending') return answer;
    if (outcome.kind === 'written' && command.kind !== 'restamp' && command.kind !== 'flush') {
      const { key, kind: op } = command;
      const { version } = outcome;
      const event = { collection: settings.name, key, version, op, store, cache, storeMs, cacheMs };
      events.write.emit(event);
    }
    return answer;
  }

  /** Before something reads what the store has: what is buffered of the key gets there first. */
  async flushKey(key: string, patienceMs?: number): Promise<void> {
    await this.buffer?.flushKey(key, patienceMs);
  }

  /**
   * Behind an insert that told the key only then: nothing was noted in the cache, so that its entry becomes a hole, and
   * what says that there is no row ends.
   */
  async inserted(
    { key, value, version }: StoreRow<Value>,
    ttlMs: number,
    storeMs: number,
  ): Promise<Answer<Value> & { readonly command: StorePut<Value> }> {
    const { clock, tally } = this.#collection;
    const publication = this.#publication;
    const startedAt = clock.monotonic();
    const row = { key, reservation: NOTHING, value, version, ttlMs, written: {} };
    const cache =
      version === NO_VERSION
        ? await publication.invalidate(key, NO_VERSION)
        : await new Promise<CacheOutcome>((published) => publication.publishRow(row, published));
    tally.writes[cache]++;
    const command = { kind: 'put', key, value, above: NO_VERSION } as const;
    const cacheMs = clock.monotonic() - startedAt;
    const outcome = { kind: 'written', value, version } as const;
    const answer = { outcome, cache, store: 'committed', coalesced: false, storeMs, cacheMs } as const;
    return { ...this.#told({ key, bytes: 0, command, ttlMs }, answer), command };
  }

  /** Whatever the cache holds of the key becomes unreadable. */
  async invalidate(key: string): Promise<CacheOutcome> {
    // A buffered write is what the cache must not lose; where it can't be flushed now, it stays.
    await this.flushKey(key).catch(() => undefined);
    return await this.#publication.invalidate(key, NO_VERSION);
  }
}
