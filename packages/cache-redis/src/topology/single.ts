import type { ChainableCommander, Redis } from 'ioredis';
import type { ScriptCall } from '../calls.js';
import {
  addBySha,
  addByText,
  answerOf,
  type Chunk,
  callBySha,
  chunksOf,
  execute,
  headsOf,
  isLostScript,
  unchunked,
} from './send.js';
import type { Topology } from './topology.js';

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

  read(keys: readonly string[]): Promise<readonly (Buffer | null | Error)[]> {
    const [first] = keys;
    if (first !== undefined && keys.length === 1) {
      return this.#client.getBuffer(first).then(alone, (error: unknown) => [answerOf(error)]);
    }
    if (keys.length <= MAX_KEYS) return this.#readTogether([...keys]);
    const answers: Promise<readonly (Buffer | null | Error)[]>[] = [];
    for (let start = 0; start < keys.length; start += MAX_KEYS) {
      answers.push(this.#readTogether(keys.slice(start, start + MAX_KEYS)));
    }
    return Promise.all(answers).then((all) => all.flat());
  }

  #readTogether(keys: string[]): Promise<readonly (Buffer | null | Error)[]> {
    return this.#client.mgetBuffer(keys).catch((error: unknown) => keys.map(() => answerOf(error)));
  }

  readHeads(keys: readonly string[], length: number): Promise<readonly (string | Error)[]> {
    return headsOf(this.#client, keys, length, () => false);
  }

  run(calls: readonly ScriptCall[]): Promise<readonly unknown[]> {
    const [first] = calls;
    if (first !== undefined && calls.length === 1) return callBySha(this.#client, first).then(alone, alone);
    return this.#send(calls, addBySha);
  }

  rerun(calls: readonly ScriptCall[]): Promise<readonly unknown[]> {
    // The first one brings the text.
    return this.#send(calls, (pipeline, call, index) => {
      if (index === 0) addByText(pipeline, call);
      else addBySha(pipeline, call);
    });
  }

  async #send(
    calls: readonly ScriptCall[],
    add: (pipeline: ChainableCommander, call: ScriptCall | Chunk, index: number) => void,
  ): Promise<readonly unknown[]> {
    const chunks = chunksOf(calls);
    const pipeline = this.#client.pipeline();
    chunks.forEach((chunk, index) => {
      add(pipeline, chunk, index);
    });
    return unchunked(chunks, await execute(pipeline));
  }

  worthRerun(error: Error): boolean {
    return isLostScript(error);
  }

  probeKeys(start: string): ReadonlyMap<string, string> {
    return new Map([['', start]]);
  }

  primaries(): readonly Redis[] {
    return [this.#client];
  }
}

function alone<Reply>(reply: Reply): readonly Reply[] {
  return [reply];
}
