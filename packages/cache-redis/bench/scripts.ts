/**
 * The cost of each transition on the server, in µs of EVALSHA by its own count, against the script of another checkout
 * on the same server, in turn. Run after a build of both, with Node 24:
 * `node packages/cache-redis/bench/scripts.ts OTHER_CHECKOUT [KIND]`.
 */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { startRedis } from '@lockstep/dev-services';
import { Redis } from 'ioredis';

const KEYS = 1_000;
const TURNS = 15;
const CHUNK = 50;
const LONG_MS = '3600000';

const zeros = '0'.repeat(13);
const nowUs = Date.now() * 1_000;
const [older, version, newer] = [nowUs - 1e6, nowUs, nowUs + 1e6].map(String) as [string, string, string];
const soon = String(Date.now() + 3_600_000);
const token = 'V1StGXR8_Z5jdHi6B-myT';
const noted = `${token.length}:${token}`;
const payload = JSON.stringify({ id: 1, name: 'a product', text: 'x'.repeat(250) });

const value = `V-${version}${zeros}${payload}`;
const hole = (notes: string, floor = version): string => `H-${floor}${zeros}${notes}`;
const put = [LONG_MS, `V-${newer}${zeros}${payload}`];

/** A command, the text at its key before, and its arguments. */
const CASES: readonly (readonly [kind: string, at: string, text: string, ...args: string[]])[] = [
  ['reserve', 'nothing', '', token, LONG_MS],
  ['reserve', 'a value', value, token, LONG_MS],
  ['reserve', 'a reserved hole', hole(`R${noted}`), token, LONG_MS],
  ['intend', 'nothing', '', token, LONG_MS, LONG_MS],
  ['intend', 'a value', value, token, LONG_MS, LONG_MS],
  ['put', 'an older value', value, ...put, `${LONG_MS} ${token}`],
  ['put', 'a hole that it reserved', hole(`R${noted}`), ...put, `${LONG_MS} ${token}`],
  ['put', 'a fresh hole that it reserved', hole(`R${noted}`, '0'.repeat(16)), ...put, `${LONG_MS} ${token}`],
  ['put', 'a hole with its intent', hole(`I${noted}${soon}0`), ...put, `${LONG_MS} ${token}`],
  ['put', 'nothing', '', ...put, `${LONG_MS} ${token}`],
  ['refresh', 'its value', value, version, LONG_MS, value],
  ['invalidate', 'nothing', '', newer, LONG_MS, '0'],
  ['invalidate', 'nothing, leaving a hole', '', newer, LONG_MS, '1'],
  ['invalidate', 'an older value', value, newer, LONG_MS, '0'],
  ['invalidate', 'the same value', value, version, LONG_MS, '0'],
  ['invalidate', 'a newer value', value, older, LONG_MS, '0'],
  ['invalidate', 'a hole', hole(''), newer, LONG_MS, '0'],
  ['invalidate', 'a leased hole', hole(`L${noted}${soon}`), newer, LONG_MS, '0'],
  ['lease', 'nothing', '', token, LONG_MS, LONG_MS],
  ['lease', 'a value', value, token, LONG_MS, LONG_MS],
  ['lease', 'a hole', hole(''), token, LONG_MS, LONG_MS],
  ['lease', 'a hole that another leased', hole(`L1:a${soon}`), token, LONG_MS, LONG_MS],
  ['fill', 'a hole that it leased', hole(`L${noted}${soon}`), token, newer, LONG_MS, '1', put[1] ?? ''],
  ['release', 'a hole that it leased', hole(`L${noted}${soon}`), token],
  ['buffer', 'a value', value, '8000000000000', 'V', payload],
  [
    'flushed',
    'its value',
    `VU${nowUs + 1}${zeros}${payload}`,
    String(nowUs + 1),
    'stored',
    LONG_MS,
    zeros,
    LONG_MS,
  ],
];

const names = Array.from({ length: KEYS }, (_, index) => `bench:${index}`);
const [other, only] = process.argv.slice(2);
if (other === undefined) throw new Error('name the folder of another checkout, built');

async function scriptOf(checkout: string): Promise<string> {
  const file = resolve(checkout, 'packages/cache-redis/dist/lua/script.js');
  return ((await import(pathToFileURL(file).href)) as { LUA: string }).LUA;
}

/** µs of the server for each key. */
async function turn(sha: string, text: string, kind: string, args: string[], size: number): Promise<number> {
  const before = client.pipeline();
  for (const name of names) {
    if (text === '') before.del(name);
    else before.set(name, text, 'PX', LONG_MS);
  }
  await before.exec();
  const calls = client.pipeline();
  for (let from = 0; from < KEYS; from += size) {
    const keys = names.slice(from, from + size);
    calls.call('evalsha', sha, keys.length, ...keys, kind, ...keys.flatMap(() => args));
  }
  await client.config('RESETSTAT');
  const replies = await calls.exec();
  const failed = replies?.find(([error]) => error !== null)?.[0];
  if (failed) throw failed;
  return Number(/cmdstat_evalsha:.*usec=(\d+)/.exec(await client.info('commandstats'))?.[1]) / KEYS;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

await using server = await startRedis({ owned: true });
const client = new Redis(server.url);
const [theirs, ours] = await Promise.all(
  [other, resolve(import.meta.dirname, '../../..')].map(async (checkout) =>
    String(await client.script('LOAD', await scriptOf(checkout))),
  ),
);
console.log(`${'kind and what is there'.padEnd(52)}  theirs    ours   ratio (lowest of each)`);
for (const [kind, at, text, ...args] of CASES) {
  if (only !== undefined && only !== kind) continue;
  for (const size of [1, CHUNK]) {
    const [our, their]: [number[], number[]] = [[], []];
    for (let each = 0; each < TURNS; each += 1) {
      const oursFirst = each % 2 === 1;
      if (oursFirst) our.push(await turn(ours ?? '', text, kind, args, size));
      their.push(await turn(theirs ?? '', text, kind, args, size));
      if (!oursFirst) our.push(await turn(ours ?? '', text, kind, args, size));
    }
    const title = `${kind} on ${at}${size === 1 ? '' : `, ${size} keys in a call`}`;
    const [before, after] = [median(their), median(our)];
    const lowest = Math.min(...our) / Math.min(...their);
    console.log(
      `${title.padEnd(52)} ${before.toFixed(2).padStart(7)} ${after.toFixed(2).padStart(7)} ${(after / before).toFixed(2).padStart(7)} (${lowest.toFixed(2)})`,
    );
  }
}
client.disconnect();
