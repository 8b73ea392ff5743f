import { CacheUnavailableError, type ChangeListener } from '@lockstep/core';
import type { Redis } from 'ioredis';
import { asError, bounded } from '../bounded.js';
import { changesClient } from '../clients.js';
import type { Settings } from '../options.js';

/** Where a server tells a client that speaks RESP2 of changes. */
const INVALIDATIONS = '__redis__:invalidate';

const ignore = (): void => undefined;

export interface ChannelOptions {
  /** The client's, in front of every key. */
  readonly keyPrefix: string;
  readonly prefixes: readonly string[];
  readonly listener: ChangeListener;
  readonly settings: Settings;
}

/**
 * A connection on which one server tells of every change of keys that start with the prefixes: `CLIENT TRACKING … BCAST`,
 * redirected to this very connection, since ioredis drops the messages that RESP3 would push. Broken, it is made again,
 * with a growing delay; what was changed meanwhile was not told.
 */
export class ChangeChannel {
  /** Changes with each start of the server; `undefined` where it does not say. */
  runId: string | undefined;
  readonly #client: Redis;
  readonly #settings: Settings;
  readonly #keyPrefix: string;
  readonly #listener: ChangeListener;
  #prefixes: readonly string[];
  #live = Promise.withResolvers<void>();
  #isLive = false;
  #isClosed = false;
  #lastError: Error | undefined;

  constructor(primary: Redis, { keyPrefix, listener, prefixes, settings }: ChannelOptions) {
    this.#settings = settings;
    this.#prefixes = prefixes;
    this.#listener = listener;
    this.#keyPrefix = keyPrefix;
    this.#client = changesClient(primary, settings);
    this.#client.on('error', (error: Error) => {
      this.#lastError = error;
    });
    this.#client.on('ready', () => void this.#start());
    this.#client.on('close', () => this.#end());
    this.#client.on('messageBuffer', (channel: Buffer, keys: readonly Buffer[] | null) =>
      this.#told(channel, keys),
    );
    this.#client.connect().catch(ignore);
  }

  /** Watches these from now on: what was changed before was not told. */
  watch(prefixes: readonly string[]): void {
    if (prefixes.length === this.#prefixes.length) return;
    this.#prefixes = prefixes;
    this.renew();
  }

  /** Resolves once all was told that the server had changed before the call. Rejects with `CacheUnavailableError`. */
  async ping(): Promise<void> {
    const { commandTimeoutMs } = this.#settings;
    try {
      await bounded(this.#live.promise, commandTimeoutMs);
    } catch (cause) {
      const message = this.#lastError?.message ?? this.#client.status;
      throw new CacheUnavailableError(`Redis does not tell of changes: ${message}`, { cause });
    }
    try {
      // Messages are sent at the end of the server's turn, replies within it: the first may come ahead of what was changed
      // in the same turn, the second is of a later one.
      await bounded(this.#client.ping(), commandTimeoutMs);
      await bounded(this.#client.ping(), commandTimeoutMs);
    } catch (error) {
      this.renew();
      throw error;
    }
  }

  /** Makes the connection anew. */
  renew(): void {
    this.#end();
    this.#client.disconnect(true);
  }

  /** What the server has sent already is told to nobody. */
  close(): void {
    this.#isClosed = true;
    this.#isLive = false;
    this.#live.promise.catch(ignore);
    this.#client.disconnect();
  }

  async #start(): Promise<void> {
    const prefixes = this.#prefixes.flatMap((prefix) => ['PREFIX', this.#keyPrefix + prefix]);
    const client = this.#client;
    try {
      const id = await client.client('ID');
      const info = await client.info('server');
      this.runId = /\brun_id:(\w+)/.exec(info)?.[1];
      await client.call('CLIENT', 'TRACKING', 'ON', 'REDIRECT', id, 'BCAST', ...prefixes);
      await client.subscribe(INVALIDATIONS);
      this.#isLive = true;
      this.#live.resolve();
    } catch (error) {
      this.#lastError = asError(error);
      this.#client.disconnect(true);
    }
  }

  #end(): void {
    if (!this.#isLive) return;
    this.#isLive = false;
    this.#live = Promise.withResolvers<void>();
    this.#listener.lost();
  }

  #told(channel: Buffer, keys: readonly Buffer[] | null): void {
    if (this.#isClosed || channel.toString() !== INVALIDATIONS) return;
    // Everything was dropped.
    if (keys === null) {
      this.#listener.lost();
      return;
    }
    for (const key of keys) this.#listener.changed(key.toString('utf8').slice(this.#keyPrefix.length));
  }
}
