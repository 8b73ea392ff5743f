import { asError } from './bounded.js';
import type { ScriptCall } from './calls.js';
import type { Connection } from './connection.js';
import type { Settings } from './options.js';
import { Pending } from './pending.js';
import type { DecodeAt } from './replies/read-command.js';
import type { Group, Topology } from './topology/topology.js';

/** The name of the server of a topology that has but one. */
const ONE_SERVER = '';

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

  /**
   * The entries at the keys, `undefined` for none, a failed one's `Error`, as the contract has it, in its place. Throws, or
   * rejects when there is one server and it fails.
   */
  read<Found>(
    keys: readonly string[],
    decode: DecodeAt<Found>,
  ): Promise<readonly (Found | undefined | Error)[]> {
    return this.#dispatch<string, Found | undefined | Error>(keys, KEYS, (some) =>
      this.#topology.read(some, decode),
    );
  }

  /** As `read`, of the first bytes. */
  readHeads(keys: readonly string[], length: number): Promise<readonly (Buffer | Error)[]> {
    return this.#dispatch<string, Buffer | Error>(keys, KEYS, (some) =>
      this.#topology.readHeads(some, length),
    );
  }

  /**
   * The scripts' replies, a failed call's `Error` in its place. Throws, or rejects when there is one server
   * and it fails.
   */
  run(calls: readonly ScriptCall[]): Promise<readonly unknown[]> {
    return this.#dispatch<ScriptCall, unknown>(calls, CALLS, (some) => this.#run(some));
  }

  #dispatch<Item, Answer>(
    items: readonly Item[],
    of: Traits<Item>,
    send: (items: readonly Item[]) => Promise<readonly Answer[]>,
  ): Promise<readonly (Answer | Error)[]> {
    this.#connection.check();
    if (items.length === 0) return Promise.resolve([]);
    if (this.#topology.groups === undefined) return this.#send(ONE_SERVER, items, of, send);
    return this.#spread(this.#topology.groups(items.map(of.key)), items, of, send);
  }

  async #spread<Item, Answer>(
    groups: readonly Group[],
    items: readonly Item[],
    of: Traits<Item>,
    send: (items: readonly Item[]) => Promise<readonly Answer[]>,
  ): Promise<readonly (Answer | Error)[]> {
    const sent = async ({ server, positions, down }: Group): Promise<readonly Answer[]> => {
      if (down !== undefined) throw this.#connection.unavailable(down);
      return this.#send(server, at(items, positions), of, send);
    };
    const [only] = groups;
    if (only !== undefined && groups.length === 1) return sent(only);
    const answers = new Array<Answer | Error>(items.length);
    await Promise.all(
      groups.map(async (group) => {
        const { positions } = group;
        try {
          const replies = await sent(group);
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

  #send<Item, Answer>(
    server: string,
    items: readonly Item[],
    of: Traits<Item>,
    send: (items: readonly Item[]) => Promise<readonly Answer[]>,
  ): Promise<readonly Answer[]> {
    let pending = this.#pending.get(server);
    if (pending === undefined) {
      pending = new Pending(this.#settings);
      this.#pending.set(server, pending);
    }
    let bytes = 0;
    for (const item of items) bytes += of.bytes(item);
    return pending.send(items.length, bytes, () => send(items));
  }

  async #run(calls: readonly ScriptCall[]): Promise<readonly unknown[]> {
    const replies = await this.#topology.run(calls);
    if (!replies.some((reply) => reply instanceof Error)) return replies;
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

/** The questions that keys and calls both answer. */
interface Traits<Item> {
  readonly key: (item: Item) => string;
  readonly bytes: (item: Item) => number;
}

const KEYS: Traits<string> = { key: (key) => key, bytes: (key) => key.length };

const CALLS: Traits<ScriptCall> = {
  key: (call) => call.key,
  bytes({ key, args }) {
    let bytes = key.length;
    for (const arg of args) bytes += arg.length;
    return bytes;
  },
};
