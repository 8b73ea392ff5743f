/// <reference path="./cluster-key-slot.d.ts" />
import slotOf from 'cluster-key-slot';
import type { Cluster, Redis } from 'ioredis';
import { asError } from '../bounded.js';
import type { ScriptCall } from '../calls.js';
import { answerOf, refusalOf } from '../refusal.js';
import { type DecodeAt, decodeText } from '../replies/read-command.js';
import { addScript, callScript, execute, headsOf, isLostScript, settled } from './send.js';
import type { Group, Topology } from './topology.js';

/** How often, at the most, a node that is gone makes the client ask who has its slots. */
const REFRESH_MS = 200;

/** Keys that are tried until every primary has one: a primary of a single slot is found among so many. */
const MAX_PROBE_KEYS = 200_000;

/** Beginnings of keys that are remembered: an application has two. */
const MAX_PROBED = 100;

/** Redis Cluster: one pipeline per node, commands that met a moved slot once more on their own. */
export class ClusterTopology implements Topology {
  readonly #client: Cluster;
  readonly keyPrefix: string;
  readonly description = 'cluster';
  #refreshedMs = 0;
  /** By what they start with. */
  readonly #probeKeys = new Map<string, ReadonlyMap<string, string>>();

  constructor(client: Cluster) {
    this.#client = client;
    this.keyPrefix = client.options.keyPrefix ?? '';
  }

  groups(keys: readonly string[]): readonly Group[] {
    const client = this.#client;
    const groups = new Map<
      number | undefined,
      { server: string; positions: number[]; down: string | undefined }
    >();
    const nodes = new Map(client.nodes('master').map((node) => [nodeName(node), node]));
    keys.forEach((key, position) => {
      const slot = slotOf(this.keyPrefix + key);
      // The very groups that ioredis takes in one pipeline. Right after a slot has moved they may name
      // the wrong server for a moment; what that one refuses is sent again.
      const id = client._groupsBySlot[slot];
      const group = groups.get(id);
      if (group !== undefined) {
        group.positions.push(position);
        return;
      }
      const server = client.slots[slot]?.[0] ?? '';
      groups.set(id, { server, positions: [position], down: this.#down(server, nodes.get(server)) });
    });
    return [...groups.values()];
  }

  /** Nothing waits for a node to come back. One that the client has dropped it finds again by itself. */
  #down(server: string, node: Redis | undefined): string | undefined {
    if (node === undefined || node.status === 'ready' || node.status === 'wait') return undefined;
    const now = performance.now();
    if (now - this.#refreshedMs >= REFRESH_MS) {
      this.#refreshedMs = now;
      this.#client.refreshSlotsCache();
    }
    return `the Redis node ${server} is not connected (${node.status})`;
  }

  async read<Found>(
    keys: readonly string[],
    decode: DecodeAt<Found>,
  ): Promise<readonly (Found | undefined | Error)[]> {
    const client = this.#client;
    const found = (text: unknown): Found | undefined => decodeText(text as Buffer | null, decode);
    const one = (key: string): Promise<Found | undefined | Error> =>
      client.getBuffer(key).then(found, answerOf).catch(refusal);
    const [first] = keys;
    if (first !== undefined && keys.length === 1) return [await one(first)];
    const pipeline = client.pipeline();
    for (const key of keys) pipeline.getBuffer(key);
    const answers = await execute(pipeline);
    // Not through Promise.all, which makes two promises for each answer.
    if (!answers.some((answer) => answer instanceof Error)) return answers.map(found);
    return Promise.all(
      answers.map((answer, index) => {
        const key = keys[index];
        if (key === undefined || !(answer instanceof Error)) return found(answer);
        if (redirects(answer)) return one(key);
        return answer.message.startsWith('WRONGTYPE') ? undefined : refusalOf(answer);
      }),
    );
  }

  readHeads(keys: readonly string[], length: number): Promise<readonly (Buffer | Error)[]> {
    return headsOf(this.#client, keys, length, redirects);
  }

  async run(calls: readonly ScriptCall[]): Promise<readonly unknown[]> {
    if (calls.length === 1) return settled(calls.map((call) => callScript(this.#client, call)));
    const pipeline = this.#client.pipeline();
    for (const call of calls) addScript(pipeline, call);
    return execute(pipeline);
  }

  /** One by one, so that ioredis follows where each is sent on to; the first one brings the text. */
  async rerun(calls: readonly ScriptCall[]): Promise<readonly unknown[]> {
    const client = this.#client;
    const first = await settled(calls.slice(0, 1).map((call) => callScript(client, call, 'text')));
    const others = calls.slice(1).map((call) =>
      callScript(client, call).catch((error: unknown) => {
        if (isLostScript(error)) return callScript(client, call, 'text');
        throw error;
      }),
    );
    return [...first, ...(await settled(others))];
  }

  worthRerun(error: Error): boolean {
    return isLostScript(error) || redirects(error);
  }

  primaryOf(key: string): string {
    return this.#client.slots[slotOf(this.keyPrefix + key)]?.[0] ?? '';
  }

  probeKeys(start: string): ReadonlyMap<string, string> {
    // One that holds no slot has no keys, and no one asks it.
    const wanted = new Set(this.#client.slots.flatMap((servers) => servers?.[0] ?? []));
    const known = this.#probeKeys.get(start) ?? new Map<string, string>();
    const right = [...known].filter(([name, key]) => wanted.has(name) && this.primaryOf(key) === name);
    if (right.length === wanted.size) return known;
    const found = this.#foundProbeKeys(start, wanted);
    if (this.#probeKeys.size >= MAX_PROBED) this.#probeKeys.clear();
    this.#probeKeys.set(start, found);
    return found;
  }

  #foundProbeKeys(start: string, wanted: ReadonlySet<string>): ReadonlyMap<string, string> {
    const found = new Map<string, string>();
    // A hash tag in the prefix gathers all keys on one primary.
    const gathered = slotOf(`${this.keyPrefix}${start}0`) === slotOf(`${this.keyPrefix}${start}1`);
    const tries = gathered ? 1 : MAX_PROBE_KEYS;
    for (let index = 0; index < tries && found.size < wanted.size; index++) {
      const key = `${start}${index}`;
      const name = this.primaryOf(key);
      if (wanted.has(name) && !found.has(name)) found.set(name, key);
    }
    return found;
  }

  primaries(): readonly Redis[] {
    return this.#client.nodes('master');
  }
}

function refusal(error: unknown): Error {
  return refusalOf(asError(error));
}

function nodeName(node: Redis): string {
  return `${node.options.host}:${node.options.port}`;
}

/** Slots moved or are moving; in a pipeline ioredis follows that only when every command says the same. */
function redirects(error: Error): boolean {
  return /^(MOVED|ASK|TRYAGAIN) /.test(error.message);
}
