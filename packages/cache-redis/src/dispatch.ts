import type { PayloadEncoding } from '@lockstep/core';
import { asError, bounded } from './bounded.js';
import type { ScriptCall } from './calls.js';
import type { Connection } from './connection.js';
import type { Stored } from './format.js';
import type { Settings } from './options.js';
import { Pending } from './pending.js';
import type { Group, Topology } from './topology/topology.js';

/** Takes calls to their servers: one message each, bounded in time and number, failing apart. */
export class Dispatch {
  readonly #connection: Connection;
  readonly #topology: Topology;
  readonly #settings: Settings;
  readonly #pending = new Map<string, Pending>();

  constructor(connection: Connection, topology: Topology, settings: Settings) {
    this.#connection = connection;
    this.#topology = topology;
    this.#settings = settings;
  }

  /** The texts at the keys. Rejects when there is one server and it fails. */
  read(keys: readonly string[], encoding: PayloadEncoding): Promise<readonly (Stored | null | Error)[]> {
    return this.#dispatch<Stored | null | Error>(
      keys,
      (position) => keys[position]?.length ?? 0,
      (positions) => this.#topology.read(at(keys, positions), encoding),
    );
  }

  /** The scripts' replies, a failed call's `Error` in its place. Rejects when there is one server and it fails. */
  run(calls: readonly ScriptCall[]): Promise<readonly unknown[]> {
    return this.#dispatch<unknown>(
      calls.map((call) => call.key),
      (position) => bytesOf(calls[position]),
      (positions) => this.#runGroup(at(calls, positions)),
    );
  }

  async #dispatch<Answer>(
    keys: readonly string[],
    bytes: (position: number) => number,
    send: (positions: readonly number[]) => Promise<readonly Answer[]>,
  ): Promise<readonly (Answer | Error)[]> {
    this.#connection.check();
    if (keys.length === 0) return [];
    const groups = this.#topology.groups(keys);
    const [only] = groups;
    if (only !== undefined && groups.length === 1) return this.#send(only, bytes, send);
    const answers = new Array<Answer | Error>(keys.length);
    await Promise.all(
      groups.map(async (group) => {
        const { positions } = group;
        try {
          const replies = await this.#send(group, bytes, send);
          positions.forEach((position, index) => {
            answers[position] = replies[index] as Answer;
          });
        } catch (error) {
          for (const position of positions) answers[position] = asError(error);
        }
      }),
    );
    return answers;
  }

  #send<Answer>(
    { server, positions, down }: Group,
    bytes: (position: number) => number,
    send: (positions: readonly number[]) => Promise<readonly Answer[]>,
  ): Promise<readonly Answer[]> {
    if (down !== undefined) return Promise.reject(this.#connection.unavailable(down));
    let pending = this.#pending.get(server);
    if (pending === undefined) {
      pending = new Pending(this.#settings);
      this.#pending.set(server, pending);
    }
    const size = positions.reduce((sum, position) => sum + bytes(position), 0);
    return bounded(
      pending.send(positions.length, size, () => send(positions)),
      this.#settings.commandTimeoutMs,
    );
  }

  async #runGroup(calls: readonly ScriptCall[]): Promise<readonly unknown[]> {
    const replies = await this.#topology.run(calls);
    const again = this.#worthRerun(calls, replies);
    if (again.length === 0) return replies;
    const second = await this.#topology.rerun(at(calls, again));
    const all = [...replies];
    again.forEach((position, index) => {
      all[position] = second[index];
    });
    return all;
  }

  /**
   * Commands of one call on one key take effect in their order: one that a later command on its key has
   * overtaken stays an error. (Another process may bring a lost script back in the middle of a batch.)
   */
  #worthRerun(calls: readonly ScriptCall[], replies: readonly unknown[]): number[] {
    const again: number[] = [];
    const overtaken = new Set<string>();
    for (let position = replies.length - 1; position >= 0; position -= 1) {
      const reply = replies[position];
      const key = calls[position]?.key ?? '';
      if (!(reply instanceof Error)) {
        overtaken.add(key);
      } else if (this.#topology.worthRerun(reply) && !overtaken.has(key)) {
        again.push(position);
      }
    }
    return again.reverse();
  }
}

/** The items at ascending positions. */
function at<Item>(items: readonly Item[], positions: readonly number[]): readonly Item[] {
  if (positions.length === items.length) return items;
  return positions.map((position) => items[position] as Item);
}

function bytesOf(call: ScriptCall | undefined): number {
  if (call === undefined) return 0;
  return call.args.reduce((sum, arg) => sum + arg.length, call.key.length);
}
