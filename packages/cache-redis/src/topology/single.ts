import type { PayloadEncoding } from '@lockstep/core';
import type { Redis } from 'ioredis';
import type { ScriptCall } from '../calls.js';
import type { Stored } from '../format.js';
import { addBySha, addByText, callBySha, execute, isLostScript } from './send.js';
import type { Group, Topology } from './topology.js';

/** One server answers a command at a time: a long MGET would keep everybody else waiting. */
const MAX_KEYS = 128;

/** One server, or the one that Sentinels name. */
export class SingleTopology implements Topology {
  readonly #client: Redis;
  readonly keyPrefix: string;
  readonly description: string;

  constructor(client: Redis) {
    this.#client = client;
    this.keyPrefix = client.options.keyPrefix ?? '';
    this.description = client.options.sentinels ? 'behind Sentinels' : 'standalone';
  }

  groups(keys: readonly string[]): readonly Group[] {
    return [{ server: '', positions: keys.map((_, position) => position), down: undefined }];
  }

  async read(keys: readonly string[], encoding: PayloadEncoding): Promise<readonly (Stored | null)[]> {
    const [first] = keys;
    if (first !== undefined && keys.length === 1) {
      return [await (encoding === 'utf8' ? this.#client.get(first) : this.#client.getBuffer(first))];
    }
    const answers: Promise<(Stored | null)[]>[] = [];
    for (let start = 0; start < keys.length; start += MAX_KEYS) {
      const some = keys.slice(start, start + MAX_KEYS);
      answers.push(encoding === 'utf8' ? this.#client.mget(some) : this.#client.mgetBuffer(some));
    }
    return (await Promise.all(answers)).flat();
  }

  async run(calls: readonly ScriptCall[]): Promise<readonly unknown[]> {
    const [first] = calls;
    if (first !== undefined && calls.length === 1) {
      return [await callBySha(this.#client, first).catch((error: unknown) => error)];
    }
    const pipeline = this.#client.pipeline();
    for (const call of calls) addBySha(pipeline, call);
    return execute(pipeline);
  }

  rerun(calls: readonly ScriptCall[]): Promise<readonly unknown[]> {
    const pipeline = this.#client.pipeline();
    // The first one brings the text.
    calls.forEach((call, index) => {
      if (index === 0) addByText(pipeline, call);
      else addBySha(pipeline, call);
    });
    return execute(pipeline);
  }

  worthRerun(error: Error): boolean {
    return isLostScript(error);
  }

  primaries(): readonly Redis[] {
    return [this.#client];
  }
}
