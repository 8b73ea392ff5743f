import { CacheUnavailableError, ClosedError, systemClock } from '@lockstep/core';
import { saidAtConnect, tlsHint, withTimeout } from '@lockstep/core/kit';
import type { Redis } from 'ioredis';
import { bounded } from './bounded.js';
import { type Client, isCluster, retryDelayMs } from './clients.js';
import type { Settings } from './options.js';

const ignore = (): void => undefined;

/** The life of a client: handed in, then never closed and only listened to, or made here. */
export class Connection {
  readonly client: Client;
  readonly #owned: boolean;
  readonly #settings: Settings;
  #lastError: Error | undefined;
  /** Why the server takes no connection, in its words. */
  #said: Error | undefined;
  #wasReady = false;
  /** The server would not take this connection to its database: commands would go to another one. */
  #noDatabase: Error | undefined;
  #closed = false;

  constructor(client: Client, owned: boolean, settings: Settings) {
    this.client = client;
    this.#owned = owned;
    this.#settings = settings;
    if (owned) this.#look();
  }

  /** Resolves when commands can be sent. Rejects with `CacheUnavailableError`; clients made here go on trying. */
  async open(): Promise<void> {
    this.#checkOpen();
    if (this.client.status === 'wait') this.client.connect().catch(ignore);
    if (this.client.status !== 'ready') await this.#becomesReady();
    this.#checkDatabase();
    if (isCluster(this.client)) await this.#connectNodes(this.client.nodes('master'));
  }

  /** Throws unless a command would be sent now: nothing is queued for a connection to come. */
  check(): void {
    this.#checkOpen();
    const { status } = this.client;
    if (status === 'ready') {
      this.#checkDatabase();
      return;
    }
    if (status === 'wait') this.client.connect().catch(ignore);
    throw this.unavailable(`Redis is not connected (${status})`);
  }

  unavailable(message: string): CacheUnavailableError {
    const cause = this.#said ?? this.#lastError;
    // A server that was reached before is away; of a cluster each node may fail in its own way.
    const asksTls = !this.#wasReady && !isCluster(this.client) ? Boolean(this.client.options.tls) : undefined;
    const hint = asksTls === undefined ? '' : tlsHint(asksTls, cause);
    if (cause === undefined) return new CacheUnavailableError(message + hint);
    return new CacheUnavailableError(`${message}: ${cause.message}${hint}`, { cause });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (!this.#owned) return;
    if (this.client.status === 'ready') {
      // Calls under way get their answers first.
      await bounded<unknown>(this.client.quit(), this.#settings.commandTimeoutMs).catch(ignore);
    }
    if (this.client.status !== 'end') this.client.disconnect();
  }

  #checkOpen(): void {
    if (this.#closed) throw new ClosedError('the Redis cache is closed');
  }

  #checkDatabase(): void {
    const cause = this.#noDatabase;
    if (cause === undefined) return;
    const { db } = (this.client as Redis).options;
    throw new CacheUnavailableError(`Redis has no database ${db}: ${cause.message}`, { cause });
  }

  #look(): void {
    const { client } = this;
    client.on('connect', () => {
      this.#noDatabase = undefined;
    });
    client.on('error', (error: Error) => {
      this.#lastError = error;
      // The client says so and goes on, in the server's first database.
      if (/DB index|SELECT is not allowed/.test(error.message)) this.#noDatabase = error;
    });
    client.on('ready', () => {
      this.#lastError = undefined;
      this.#said = undefined;
      this.#wasReady = true;
    });
    client.on('end', () => this.#revive());
    if (!isCluster(client)) return;
    client.on('node error', (error: Error) => {
      this.#lastError = error;
    });
    client.on('+node', (node: Redis) => {
      if (client.status === 'ready') this.#connectNodes([node]).catch(ignore);
    });
  }

  /** A server that was never reached may say why it ends each connection. */
  async #listen(): Promise<void> {
    if (this.#wasReady || isCluster(this.client)) return;
    const { sentinels, tls, ...address } = this.client.options;
    if (sentinels || tls) return;
    this.#said = await saidAtConnect(address, this.#lastError);
  }

  /** A connector that fails in a way that ioredis takes as final would leave the cache off for ever. */
  #revive(): void {
    if (this.#closed) return;
    systemClock.schedule(() => {
      if (!this.#closed && this.client.status === 'end') this.client.connect().catch(ignore);
    }, retryDelayMs(10));
  }

  async #becomesReady(): Promise<void> {
    const { client } = this;
    const { connectTimeoutMs, commandTimeoutMs } = this.#settings;
    let stop = ignore;
    const settled = new Promise<void>((resolve, reject) => {
      const fail = (): void => {
        const { status } = client;
        const rejects = (): void => reject(this.unavailable(`Redis can't be reached (${status})`));
        this.#listen().then(rejects, rejects);
      };
      if (client.status === 'end') fail();
      client.on('ready', resolve);
      client.on('close', fail);
      client.on('end', fail);
      stop = () => {
        client.off('ready', resolve);
        client.off('close', fail);
        client.off('end', fail);
      };
    });
    try {
      const ms = connectTimeoutMs + commandTimeoutMs;
      await withTimeout(systemClock, settled, ms, () =>
        this.unavailable(`Redis did not answer within ${ms} ms`),
      );
    } finally {
      stop();
    }
  }

  /** ioredis connects a node with its first command; done here, a node that is not ready is a node that is gone. */
  async #connectNodes(nodes: readonly Redis[]): Promise<void> {
    const connecting = nodes.map(async (node) => {
      if (node.status === 'wait') await node.connect();
    });
    await bounded(Promise.allSettled(connecting), this.#settings.connectTimeoutMs).catch(ignore);
  }
}
