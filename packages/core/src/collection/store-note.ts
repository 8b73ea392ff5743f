import { withinCacheTime } from '../cache/cache-time.js';
import type { CacheCommand, CacheReply, LeaseCommand } from '../contracts/cache-commands.js';
import type { RecordedCollection } from '../contracts/registry.js';
import { CacheUnavailableError, InvalidOptionError } from '../errors.js';
import { resetCollections } from '../feed/reset.js';
import { sleep } from '../kit/wait.js';
import { enginePrefix } from '../protocol/key.js';
import type { CollectionContext } from './context.js';

/** The bound of each question to the cache; connecting is a part of the first. */
const TIMEOUT_MS = 1_000;
/** A note stands at least for so long after the last process renewed it, and for as long as an entry may. */
const LEAST_TTL_MS = 3_600_000;
const LEASE_MS = 1_000;
/** How often, and how long apart, a note that another process is writing is read again. */
const MAX_READS = 5;
const READ_AGAIN_MS = 20;

/**
 * A note in the cache of whose rows a collection's keys hold. Two services that leave the prefix as it is, and call a
 * collection alike, would read each other's rows, and no store could tell them: the cache is all that they share. It is
 * read when the collection opens, and renewed while it is open. A cache that can't be reached then refuses nobody.
 */
export class StoreNote {
  readonly #context: CollectionContext<unknown>;
  readonly #lookups: readonly RecordedCollection[];
  readonly #key: string;
  readonly #ttlMs: number;

  /** @param lookups what leads to the collection's rows */
  constructor(context: CollectionContext<unknown>, lookups: readonly RecordedCollection[]) {
    const { name, staleWhileRevalidateMs, ttlJitter, ttlMs } = context.settings;
    this.#context = context;
    this.#lookups = lookups;
    this.#key = `${enginePrefix(context.prefix)}store:${name}`;
    this.#ttlMs = Math.max(LEAST_TTL_MS, Math.ceil(ttlMs * (1 + ttlJitter)) + staleWhileRevalidateMs);
  }

  /** Throws `InvalidOptionError` where the keys hold another store's rows; rejects as the store does. */
  async check(): Promise<void> {
    const { adapter, settings, store } = this.#context;
    if (!adapter.shared) return;
    const own = await store.identity?.({ timeoutMs: settings.storeTimeoutMs });
    if (own === undefined) return;
    const found = await this.#noted(own).catch(() => undefined);
    if (found !== undefined && found !== own) {
      if (!settings.additional) throw this.#refusal(own, found);
      await this.#takeOver(own);
    }
    this.#renewLater(own);
  }

  /** The store that is noted; this one, where none was. */
  async #noted(own: string): Promise<string | undefined> {
    const { clock, nextToken } = this.#context;
    const token = nextToken();
    const times = { leaseMs: LEASE_MS, holeTtlMs: LEASE_MS };
    const lease: LeaseCommand = { kind: 'lease', key: this.#key, token, encoding: 'utf8', ...times };
    for (let reads = 0; reads < MAX_READS; reads++) {
      const reply = await this.#run(lease);
      if (reply.kind !== 'lease' || reply.outcome === 'foreign') return undefined;
      if (reply.outcome === 'hit')
        return typeof reply.hit.payload === 'string' ? reply.hit.payload : undefined;
      if (reply.outcome === 'granted') {
        await this.#run({ kind: 'fill', key: this.#key, token, payload: own, ...this.#life });
        return own;
      }
      await sleep(clock, READ_AGAIN_MS);
    }
    return undefined;
  }

  async #write(own: string): Promise<void> {
    await this.#run({ kind: 'refresh', key: this.#key, payload: own, ...this.#life });
  }

  /** The rows of the other store become unreadable before the note names this one. */
  async #takeOver(own: string): Promise<void> {
    const { cache, events, keyPrefix: start, settings, store } = this.#context;
    const { holeTtlMs, name } = settings;
    const collection = { name, source: store.source, keyPrefix: start, holeTtlMs, holeOnEmpty: false };
    try {
      await resetCollections(cache, [collection, ...this.#lookups]);
      await this.#write(own);
    } catch (error) {
      events.error.emit({ where: 'open', error });
      throw error;
    }
  }

  get #life() {
    return { version: 2, ttlMs: this.#ttlMs, staleAtMs: 0 };
  }

  #renewLater(own: string): void {
    const { clock, events, lifecycle } = this.#context;
    const renew = async (): Promise<void> => {
      if (lifecycle.closed) return;
      const found = await this.#noted(own).catch(() => undefined);
      if (found === own) await this.#write(own).catch(() => undefined);
      else if (found !== undefined) events.error.emit({ where: 'open', error: this.#refusal(own, found) });
      this.#renewLater(own);
    };
    clock.schedule(() => void renew(), this.#ttlMs / 4);
  }

  /** Not by way of the cache's client: what fails here says nothing of the calls, whose circuit stays as it is. */
  async #run(command: CacheCommand): Promise<CacheReply> {
    const { adapter, cache, clock } = this.#context;
    const running = cache.open().then(() => adapter.execute([command]));
    const [reply] = await withinCacheTime(clock, running, TIMEOUT_MS);
    if (reply === undefined || reply instanceof Error)
      throw reply ?? new CacheUnavailableError('the cache gave no reply');
    return reply;
  }

  #refusal(own: string, found: string): InvalidOptionError {
    const { keyPrefix: start, prefix, settings } = this.#context;
    return new InvalidOptionError(
      `collection("${settings.name}").store`,
      `the cache's keys "${start}…" hold rows of ${found.slice(0, 300)}, and this collection's store is ${own}: the two ` +
        `would read each other's rows. Give one of them another prefix than "${prefix}" (createLockstep({ prefix })) or ` +
        'the collection another name; or, where the store was moved or restored, remove those keys from the cache and ' +
        `"${this.#key}" with them, or open once with additional: true, which makes them unreadable`,
      { collection: settings.name },
    );
  }
}
