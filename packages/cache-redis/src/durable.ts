import type { Redis } from 'ioredis';
import type { ScriptCall } from './calls.js';
import { durableClient } from './clients.js';
import { Connection } from './connection.js';
import { Dispatch } from './dispatch.js';
import type { Settings } from './options.js';
import { DurableTopology } from './topology/durable.js';

/** A second connection, for calls that wait for the server's disk; made with the first of them. */
export class DurableLane {
  readonly #client: Redis;
  readonly #settings: Settings;
  #lane: { readonly connection: Connection; readonly dispatch: Dispatch } | undefined;
  #opening: Promise<void> | undefined;

  constructor(client: Redis, settings: Settings) {
    this.#client = client;
    this.#settings = settings;
  }

  async run(calls: readonly ScriptCall[]): Promise<readonly unknown[]> {
    const { connection, dispatch } = this.#opened();
    this.#opening ??= connection.open();
    await this.#opening.catch(() => undefined);
    return dispatch.run(calls);
  }

  async close(): Promise<void> {
    await this.#lane?.connection.close();
  }

  #opened(): { readonly connection: Connection; readonly dispatch: Dispatch } {
    if (this.#lane === undefined) {
      const client = durableClient(this.#client, this.#settings);
      const connection = new Connection(client, true, this.#settings);
      const topology = new DurableTopology(client, this.#settings.commandTimeoutMs);
      this.#lane = { connection, dispatch: new Dispatch(connection, topology, this.#settings) };
    }
    return this.#lane;
  }
}
