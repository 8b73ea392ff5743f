import type { Redis } from 'ioredis';
import type { ScriptCall } from '../calls.js';
import { answerOf } from '../refusal.js';
import { type DecodeAt, decodeText, ReadCommand } from '../replies/read-command.js';
import { readReplies } from '../replies/reply-reader.js';
import {
  addScript,
  callScript,
  chunksOf,
  execute,
  headsOf,
  isLostScript,
  type ScriptForm,
  unchunked,
} from './send.js';
import type { Topology } from './topology.js';

/** One server answers a command at a time: a long MGET would keep everybody else waiting. */
const MAX_KEYS = 128;

/** One server, or the one that Sentinels name. */
export class SingleTopology implements Topology {
  readonly #client: Redis;
  readonly #owned: boolean;
  readonly keyPrefix: string;
  readonly description: string;

  /** @param owned false of a client that was handed in: it may be another release's, and is left as it is */
  constructor(client: Redis, owned = false) {
    this.#client = client;
    this.#owned = owned;
    if (owned) client.on('connect', () => readReplies(client));
    this.keyPrefix = client.options.keyPrefix ?? '';
    this.description = client.options.sentinels ? 'behind Sentinels' : 'standalone';
  }

  read<Found>(
    keys: readonly string[],
    decode: DecodeAt<Found>,
  ): Promise<readonly (Found | undefined | Error)[]> {
    if (keys.length <= MAX_KEYS) return this.#readTogether(keys, decode);
    const answers: Promise<readonly (Found | undefined | Error)[]>[] = [];
    for (let start = 0; start < keys.length; start += MAX_KEYS) {
      answers.push(this.#readTogether(keys.slice(start, start + MAX_KEYS), decode));
    }
    return Promise.all(answers).then((all) => all.flat());
  }

  #readTogether<Found>(
    keys: readonly string[],
    decode: DecodeAt<Found>,
  ): Promise<readonly (Found | undefined | Error)[]> {
    if (this.#owned) return this.#send(new ReadCommand(keys, decode, this.keyPrefix));
    return this.#texts(keys).then(
      (texts) => texts.map((text) => decodeText(text, decode)),
      (error: unknown) => keys.map(() => answerOf(error)),
    );
  }

  /** What is sent in one tick is written at once: a write costs as much as the reading of ten rows. */
  #send<Found>(command: ReadCommand<Found>): Promise<readonly (Found | undefined | Error)[]> {
    const { stream } = this.#client;
    if (stream.writableCorked === 0) {
      stream.cork();
      process.nextTick(uncork, stream);
    }
    return this.#client.sendCommand(command) as Promise<readonly (Found | undefined | Error)[]>;
  }

  async #texts(keys: readonly string[]): Promise<readonly (Buffer | null)[]> {
    const [first] = keys;
    return first !== undefined && keys.length === 1
      ? [await this.#client.getBuffer(first)]
      : await this.#client.mgetBuffer([...keys]);
  }

  readHeads(keys: readonly string[], length: number): Promise<readonly (Buffer | Error)[]> {
    return headsOf(this.#client, keys, length, () => false);
  }

  run(calls: readonly ScriptCall[]): Promise<readonly unknown[]> {
    const [first] = calls;
    if (first !== undefined && calls.length === 1) return callScript(this.#client, first).then(alone, alone);
    return this.#runAll(calls, 'digest');
  }

  rerun(calls: readonly ScriptCall[]): Promise<readonly unknown[]> {
    // The first one brings the text.
    return this.#runAll(calls, 'text');
  }

  async #runAll(calls: readonly ScriptCall[], first: ScriptForm): Promise<readonly unknown[]> {
    const chunks = chunksOf(calls);
    const pipeline = this.#client.pipeline();
    chunks.forEach((chunk, index) => {
      addScript(pipeline, chunk, index === 0 ? first : 'digest');
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

function uncork(stream: Redis['stream']): void {
  stream.uncork();
}

function alone<Reply>(reply: Reply): readonly Reply[] {
  return [reply];
}
