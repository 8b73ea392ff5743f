import { Redis } from 'ioredis';
import { afterAll, describe, expect, test } from 'vitest';
import { type ScriptCall, scriptCall } from '../src/calls.js';
import { Connection } from '../src/connection.js';
import { Dispatch } from '../src/dispatch.js';
import { decode, HITS } from '../src/format.js';
import { settingsOf } from '../src/options.js';
import { SingleTopology } from '../src/topology/single.js';
import { put } from './support/entries.js';

const client = new Redis({ lazyConnect: true });
afterAll(() => client.disconnect());

/** One server whose replies the test gives. */
class Scripted extends SingleTopology {
  readonly reran: string[] = [];
  readonly #replies: unknown[];

  constructor(replies: unknown[]) {
    super(client);
    this.#replies = replies;
  }

  override async run(): Promise<readonly unknown[]> {
    return this.#replies;
  }

  override async rerun(calls: readonly ScriptCall[]): Promise<readonly unknown[]> {
    this.reran.push(
      ...calls.map(({ key, args }) => `${key}@${decode(Buffer.from(args[1] ?? ''), 'utf8')?.version}`),
    );
    return calls.map(() => 'again');
  }

  override async read(): Promise<never> {
    return new Promise(() => undefined);
  }
}

function dispatch(topology: Scripted, limits: object = {}): Dispatch {
  const settings = settingsOf({ client, commandTimeoutMs: 50, ...limits });
  const connection = new Connection(client, false, settings);
  connection.check = () => undefined;
  return new Dispatch(connection, topology, settings);
}

describe('scripts that a server has lost', () => {
  const lost = new Error('NOSCRIPT No matching script.');

  test('run again in their order', async () => {
    const topology = new Scripted(['stored', lost, lost, 'stored', lost]);
    const calls = [put('a', 1), put('b', 2), put('b', 3), put('c', 4), put('d', 5)].map(scriptCall);
    expect(await dispatch(topology).run(calls)).toEqual(['stored', 'again', 'again', 'stored', 'again']);
    expect(topology.reran).toEqual(['b@2', 'b@3', 'd@5']);
  });

  test('stay failed where a later command on the same key has overtaken them', async () => {
    const topology = new Scripted([lost, lost, 'stored']);
    const calls = [put('a', 1), put('b', 2), put('a', 3)].map(scriptCall);
    expect(await dispatch(topology).run(calls)).toEqual([lost, 'again', 'stored']);
    expect(topology.reran).toEqual(['b@2']);
  });
});

describe('what a server has not answered', () => {
  test('is bounded in number: beyond it calls fail at once, though their callers gave up long ago', async () => {
    const calls = dispatch(new Scripted([]), { maxPending: 3 });
    await expect(calls.read(['a', 'b'], HITS.utf8)).rejects.toThrow('within 50 ms');
    await expect(calls.read(['c', 'd'], HITS.utf8)).rejects.toThrow('maxPending');
    await expect(calls.read(['e'], HITS.utf8)).rejects.toThrow('within 50 ms');
    await expect(calls.read(['f'], HITS.utf8)).rejects.toThrow('maxPending');
  });

  test('makes room once it is answered', async () => {
    const topology = new Scripted(['stored']);
    const calls = dispatch(topology, { maxPending: 1, maxPendingBytes: 1_000 });
    for (let turn = 0; turn < 3; turn += 1) {
      expect(await calls.run([scriptCall(put('a', 1, 'x'.repeat(900)))])).toEqual(['stored']);
    }
    const two = calls.run([scriptCall(put('a', 1)), scriptCall(put('b', 1))]);
    await expect(calls.run([scriptCall(put('c', 1))])).rejects.toThrow('maxPending');
    await two;
  });

  test('is bounded in bytes', async () => {
    const calls = dispatch(new Scripted([]), { maxPendingBytes: 100 });
    await expect(calls.read(['a'.repeat(80)], HITS.utf8)).rejects.toThrow('within 50 ms');
    await expect(calls.read(['b'.repeat(21)], HITS.utf8)).rejects.toThrow('maxPendingBytes');
  });
});
