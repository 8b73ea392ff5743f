import { CollectionBuffer } from '../buffer/buffer.js';
import type { CollectionSettings } from '../collection/settings.js';
import type { CacheOutcome } from '../contracts/api.js';
import type { StoreAdapter, StoreCommand } from '../contracts/store.js';
import { NO_VERSION } from '../contracts/version.js';
import { StoreRefusedError } from '../errors.js';
import type { Membership } from '../feed/membership.js';
import type { EngineContext } from '../runtime/context.js';
import type { Codec } from '../values/codec.js';
import { isBlind, type StoreWrite } from './commands.js';
import { TransactionWrites } from './inside.js';
import { Preparation, usesIntents } from './prepare.js';
import { type Lifetime, Publication } from './publish.js';
import { type Answer, type CacheStep, StoreCommit } from './store-commit.js';
import { ValueHints } from './value-hints.js';

export interface WritePathOptions<Value> {
  readonly store: StoreAdapter<Value, never>;
  readonly settings: CollectionSettings;
  readonly keyPrefix: string;
  readonly codec: Codec<Value>;
  readonly context: EngineContext;
  readonly lifetime: Lifetime;
  readonly member: Membership | undefined;
  /** Called when a write of the key is about to be acknowledged: no later reader joins an earlier load. */
  readonly detach: (cacheKey: string) => void;
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
  /** Where writes may be acknowledged before the store has them. */
  readonly buffer: CollectionBuffer<Value> | undefined;
  readonly #options: WritePathOptions<Value>;
  readonly #publication: Publication<Value>;
  readonly #commit: StoreCommit<Value>;

  constructor(options: WritePathOptions<Value>) {
    const { context, settings, store } = options;
    const { batch, burst, name, storeTimeoutMs } = settings;
    this.#options = options;
    const flushKey =
      burst === undefined
        ? undefined
        : (key: string, patienceMs?: number): Promise<void> => this.flushKey(key, patienceMs);
    // What this process remembers may be below what another has buffered since.
    const hints = usesIntents(settings, store) || burst !== undefined ? undefined : new ValueHints();
    const shared = { ...context, ...options, hints };
    const preparation = new Preparation({ ...shared, flushKey });
    const publication = new Publication({ ...shared, preparation });
    const cache: CacheStep<Value> = {
      // A deletion asks for a row: where it finds none, nothing would stop a buffered write of it.
      prepare: ({ command, key }) => preparation.prepare(key, command.kind === 'put' && isBlind(command)),
      abandon: (key, reservation, error) => preparation.abandon(key, reservation, error),
      publish: ({ key, ttlMs }, reservation, outcome, published) =>
        publication.publish(key, reservation, outcome, ttlMs, published),
    };
    const commit = new StoreCommit<Value>({
      collection: name,
      store,
      storeTimeoutMs,
      batch,
      clock: context.clock,
      cache,
      committed: (storeMs) => this.buffer?.committed(storeMs),
      // Others may buffer writes of a key between a write's preparation and another that would join it.
      preparesInTurn: burst !== undefined,
    });
    this.#publication = publication;
    this.#commit = commit;
    const payloadOf = publication.payloadOf.bind(publication);
    this.buffer = burst && new CollectionBuffer({ ...options, burst, payloadOf, writes: commit });
    this.inside = new TransactionWrites({ ...options, preparation, publication, buffer: this.buffer });
  }

  /** By group commit, or through the buffer. Whoever does not wait for it has it counted as an activity. */
  submit(command: StoreCommand<Value>, bytes: number, ttlMs: number): Promise<Answer<Value>> {
    const write = { key: command.key, bytes, command, ttlMs };
    const { events } = this.#options.context;
    const writing = this.buffer?.submit(write, () => this.#toStore(write)) ?? this.#toStore(write);
    return events.write.wanted ? writing.then((answer) => this.#told(command, answer)) : writing;
  }

  #toStore(write: StoreWrite<Value>): Promise<Answer<Value>> {
    return this.#options.context.buffers.none ? this.#commit.submit(write) : this.#behindOthers(write);
  }

  /** What a buffered write of another row may allow is tried once more when the store has that. */
  async #behindOthers(write: StoreWrite<Value>): Promise<Answer<Value>> {
    const { context, store } = this.#options;
    try {
      return await this.#commit.submit(write);
    } catch (error) {
      if (!(error instanceof StoreRefusedError) || !error.mayDependOnOthers) throw error;
      await context.buffers.flush(store.feed);
      return await this.#commit.submit(write);
    }
  }

  #told(command: StoreCommand<Value>, answer: Answer<Value>): Answer<Value> {
    const { outcome, cache, store, storeMs, cacheMs } = answer;
    const { context, settings } = this.#options;
    if (store === 'pending' || cache === 'pending') return answer;
    if (outcome.kind === 'written' && command.kind !== 'restamp' && command.kind !== 'flush') {
      const { key, kind: op } = command;
      const { version } = outcome;
      const event = { collection: settings.name, key, version, op, store, cache, storeMs, cacheMs };
      context.events.write.emit(event);
    }
    return answer;
  }

  /** Before something reads what the store has: what is buffered of the key gets there first. */
  async flushKey(key: string, patienceMs?: number): Promise<void> {
    await this.buffer?.flushKey(key, patienceMs);
  }

  /** Whatever the cache holds of the key becomes unreadable. */
  async invalidate(key: string): Promise<CacheOutcome> {
    // A buffered write is what the cache must not lose; where it can't be flushed now, it stays.
    await this.flushKey(key).catch(() => undefined);
    return await this.#publication.invalidate(key, NO_VERSION);
  }
}
