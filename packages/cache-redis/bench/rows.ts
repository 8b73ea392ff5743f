/**
 * The cost of hits to the application, without sockets: processor time for each row by `get` and `getMany`, beside the bare
 * client's GET and MGET, with JSON.parse and without, all on a server that is a table in this process. Sides take short turns.
 * Run after a build, with Node 24: `node packages/cache-redis/bench/rows.ts`; with `--cpu-prof` it tells where that goes.
 */
import { Duplex } from 'node:stream';
import { redisCache } from '@lockstep/cache-redis';
import { createLockstep } from '@lockstep/core';
import { memoryStore } from '@lockstep/core/memory';
import { Redis, type RedisOptions } from 'ioredis';

const ROWS = 10_000;
const TOGETHER = 50;
const TURNS = 40;
/** What a socket reads at once. */
const READ = 65_536;

const texts = new Map<string, Buffer>();
const blob = (text: string): Buffer => Buffer.from(`$${Buffer.byteLength(text)}\r\n${text}\r\n`);
for (let n = 0; n < ROWS; n++) {
  const id = String(n);
  const attributes = { colour: 'red', sizes: [36, 38, 40], text: 'a catalogue text '.repeat(8) };
  const json = JSON.stringify({ id, name: `Product ${n}`, stock: n % 100, price: n / 4, attributes });
  texts.set(`products:${id}`, blob(json));
  texts.set(`wtc:products:${id}`, blob(`V-${Date.now() - 1_000}000${'0'.repeat(13)}${json}`));
}

/** Answers as Redis would, in the next turn of the event loop. */
class Server extends Duplex {
  #replies: Buffer[] = [];

  override _read(): void {}
  setNoDelay(): void {}
  setKeepAlive(): void {}
  setTimeout(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    const parts = chunk.toString('latin1').split('\r\n');
    for (let at = 0; at < parts.length - 1; ) {
      const count = Number(parts[at]?.slice(1));
      const words = Array.from({ length: count }, (_, i) => parts[at + 2 + 2 * i] ?? '');
      at += 1 + 2 * count;
      if (this.#replies.length === 0) setImmediate(() => this.#send());
      this.#replies.push(replyTo(words));
    }
    done();
  }

  #send(): void {
    const all = Buffer.concat(this.#replies);
    this.#replies = [];
    for (let at = 0; at < all.length; at += READ) this.push(all.subarray(at, at + READ));
  }
}

function replyTo([name = '', ...args]: readonly string[]): Buffer {
  const textOf = (key = ''): Buffer => texts.get(key) ?? Buffer.from('$-1\r\n');
  switch (name) {
    case 'get':
      return textOf(args[0]);
    case 'mget':
      return Buffer.concat([Buffer.from(`*${args.length}\r\n`), ...args.map(textOf)]);
    case 'hello':
      return Buffer.from('%1\r\n+proto\r\n:3\r\n');
    case 'info':
      return blob('redis_version:8.0.0\r\nloading:0\r\n');
    // The proof that the cache takes invalidations.
    case 'evalsha':
      return blob(`${Date.now()} - -`);
    default:
      return Buffer.from('+OK\r\n');
  }
}

class Connector {
  readonly connecting = true;
  readonly #server = new Server();

  check(): boolean {
    return true;
  }

  disconnect(): void {
    this.#server.destroy();
  }

  connect(): Promise<Duplex> {
    setImmediate(() => this.#server.emit('connect'));
    return Promise.resolve(this.#server);
  }
}

const redisOptions = { Connector } as unknown as RedisOptions;
const lockstep = createLockstep({ cache: redisCache({ url: 'redis://127.0.0.1', redisOptions }) });
const products = lockstep.collection({ name: 'products', store: memoryStore({ name: 'products' }) });
const client = new Redis(redisOptions);

const idOf = (n: number): string => String((n * 7_919) % ROWS);
const idsOf = (n: number): string[] => Array.from({ length: TOGETHER }, (_, i) => idOf(n * TOGETHER + i));
const parsed = (text: string | null): unknown => JSON.parse(text ?? 'null');
const get = (n: number): Promise<string | null> => client.get(`products:${idOf(n)}`);
const mget = (n: number): Promise<(string | null)[]> => client.mget(idsOf(n).map((id) => `products:${id}`));

type Call = (n: number) => Promise<unknown>;
const SINGLE: Readonly<Record<string, Call>> = {
  get: (n) => products.get(idOf(n)),
  GET: get,
  'GET, JSON.parse': async (n) => parsed(await get(n)),
};
const MANY: Readonly<Record<string, Call>> = {
  getMany: (n) => products.getMany(idsOf(n)),
  MGET: mget,
  'MGET, JSON.parse': async (n) => (await mget(n)).map(parsed),
};

/** In µs for each call. */
async function turn(callers: number, calls: number, call: Call): Promise<number> {
  let next = 0;
  const before = process.cpuUsage();
  const caller = async (): Promise<void> => {
    while (next < calls) await call(next++);
  };
  await Promise.all(Array.from({ length: callers }, caller));
  const { system, user } = process.cpuUsage(before);
  return (user + system) / calls;
}

const CASES = [
  { callers: 1, calls: 1_500, rows: 1, sides: SINGLE },
  { callers: 256, calls: 12_000, rows: 1, sides: SINGLE },
  { callers: 1, calls: 300, rows: TOGETHER, sides: MANY },
  { callers: 32, calls: 400, rows: TOGETHER, sides: MANY },
];

if ((await products.get('7')) === undefined) throw new Error('no hit');
console.log(
  'processor time in µs for each row, lower quartile of the turns, the server in this process included',
);
for (const { callers, calls, rows, sides } of CASES) {
  const times = new Map(Object.keys(sides).map((name) => [name, [] as number[]]));
  for (let round = 0; round < TURNS; round++) {
    const order = Object.entries(sides);
    for (const [name, call] of round % 2 === 0 ? order : order.toReversed()) {
      const us = await turn(callers, calls, call);
      // The first ones warm up.
      if (round >= TURNS / 5) times.get(name)?.push(us / rows);
    }
  }
  const figures = [...times].map(
    ([name, all]) => `${name} ${all.toSorted((a, b) => a - b)[all.length >> 2]?.toFixed(2)}`,
  );
  console.log(`${callers} callers: ${figures.join('; ')}`);
}
process.exit();
