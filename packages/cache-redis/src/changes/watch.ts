import { CacheUnavailableError, type ChangeListener, type ChangeWatch, ClosedError } from '@lockstep/core';
import type { Redis } from 'ioredis';
import { ScriptCall } from '../calls.js';
import { type Client, isCluster } from '../clients.js';
import type { Dispatch } from '../dispatch.js';
import type { Settings } from '../options.js';
import { PROBE_TTL_MS } from '../probe.js';
import type { Topology } from '../topology/topology.js';
import { ChangeChannel } from './channel.js';

export interface RedisWatchParts {
  readonly client: Client;
  readonly topology: Topology;
  readonly dispatch: Dispatch;
  readonly settings: Settings;
  /** The start of the watch's own keys. */
  readonly prefix: string;
  readonly listener: ChangeListener;
}

/**
 * A watch over the changes of all primaries, one channel to each. A cluster is proven as a whole, since keys move between
 * its nodes: a key that leaves a node is told by it as removed, and every node that may get it has a channel.
 */
export class RedisWatch implements ChangeWatch {
  readonly #parts: RedisWatchParts;
  readonly #prefixes: string[] = [];
  readonly #channels = new Map<Redis, ChangeChannel>();
  readonly #onNode = (): void => this.#parts.listener.lost();
  #closed = false;

  constructor(parts: RedisWatchParts) {
    this.#parts = parts;
    const { client } = parts;
    // A reply may come from a node that nobody watches yet.
    if (isCluster(client)) client.on('+node', this.#onNode);
  }

  add(prefix: string): void {
    this.#prefixes.push(prefix);
  }

  async ping(): Promise<void> {
    if (this.#closed) throw new ClosedError('the watch over changes is closed');
    this.#follow();
    const channels = [...this.#channels.values()];
    const [holders] = await Promise.all([this.#holders(), ...channels.map((channel) => channel.ping())]);
    const known = new Set(channels.map(({ runId }) => runId));
    const stranger = holders.find((runId) => !known.has(runId));
    if (stranger === undefined) return;
    // The channels lead to servers that do not hold the keys any more, and may not know it.
    for (const channel of channels) if (!holders.includes(channel.runId ?? '')) channel.renew();
    throw new CacheUnavailableError('Redis takes writes at a server that does not tell of changes here');
  }

  async close(): Promise<void> {
    this.#closed = true;
    const { client } = this.#parts;
    if (isCluster(client)) client.off('+node', this.#onNode);
    for (const channel of this.#channels.values()) channel.close();
    this.#channels.clear();
  }

  /** One channel to each primary of now. */
  #follow(): void {
    const { listener, settings, topology } = this.#parts;
    const primaries = new Set(topology.primaries());
    for (const [primary, channel] of this.#channels) {
      if (primaries.has(primary)) {
        channel.watch([...this.#prefixes]);
        continue;
      }
      channel.close();
      this.#channels.delete(primary);
      listener.lost();
    }
    for (const primary of primaries) {
      if (this.#channels.has(primary)) continue;
      const { keyPrefix } = topology;
      const options = { keyPrefix, prefixes: [...this.#prefixes], listener, settings };
      this.#channels.set(primary, new ChangeChannel(primary, options));
      listener.lost();
    }
  }

  /** The run ids of the servers that take writes now, each of a key that it holds. Rejects where one does not say it. */
  async #holders(): Promise<string[]> {
    const { dispatch, prefix, topology } = this.#parts;
    const keys = [...topology.probeKeys(`${prefix}probe`).values()];
    const calls = keys.map((key) => new ScriptCall('probe', key, [PROBE_TTL_MS], 'utf8'));
    const replies = await dispatch.run(calls);
    return replies.map((reply) => {
      if (reply instanceof Error) throw reply;
      const [, runId] = String(reply).split(' ');
      if (runId !== undefined && runId !== '-') return runId;
      throw new CacheUnavailableError('Redis does not say which server it is: near entries need INFO');
    });
  }
}
