import { setTimeout as pause } from 'node:timers/promises';
import { redisCache } from '@lockstep/cache-redis';
import { type Collection, createLockstep, type Lockstep, type View } from '@lockstep/core';
import { memoryStore } from '@lockstep/core/memory';
import { type RedisService, startProxy, startRedis, type TcpProxy } from '@lockstep/dev-services';
import { Redis, type RedisOptions } from 'ioredis';
import { type Random, randomChoice, randomInt, seededRandom } from '../random.js';
import { BREAKS, type Break, breakOnce } from './breaker.js';
import { NearChecker } from './checker.js';
import { type NearControl, without } from './controls.js';

export interface NearRunOptions {
  /** Ends once so many reads were judged. */
  readonly reads: number;
  /** And so many lists of them were near. @defaultValue 0 */
  readonly nearListsAtLeast?: number;
  readonly seed: number;
  readonly maxStaleMs: number;
  readonly control?: NearControl | undefined;
  /** @defaultValue all */
  readonly breaks?: readonly Break[];
  /** Ends with the first stale read. @defaultValue false */
  readonly untilStale?: boolean;
}

export interface NearRunResult {
  readonly seed: number;
  readonly reads: number;
  readonly nearReads: number;
  /** Reads of lists, among the others. */
  readonly lists: number;
  readonly nearLists: number;
  readonly writes: number;
  readonly seconds: number;
  readonly breaks: Readonly<Record<string, number>>;
  /** Reads that returned less than they owed. */
  readonly stale: number;
  readonly samples: readonly string[];
}

interface Row {
  readonly n: number;
  readonly group: string;
}

interface Process {
  readonly lockstep: Lockstep;
  readonly rows: Collection<Row>;
  /** The versions of the rows of a group, as its view has them. */
  readonly list: (group: number) => { readonly isNear: boolean; readonly versions: Promise<number[]> };
}

const PROCESSES = 3;
/** So many that most of them are not written again before a message that was lost shows. */
const KEYS = Array.from({ length: 400 }, (_, n) => `k${n}`);
/** As many lists, of four rows each: the others' writes end none of them, so that lists are near for a while. */
const GROUPS = 10;
const LISTED = 4 * GROUPS;
const LISTS = 0.05;
const READS_AT_ONCE = 500;
const MAX_WRITE_PAUSE_MS = 4;
const MAX_CALM_MS = 400;
const SAMPLES = 5;

/**
 * Three Locksteps with near entries of rows, and of lists of them, over one store and one Redis, whose channels go through proxies that hold, swallow,
 * delay and cut them, while Redis is flushed, evicts, hangs and restarts, and a foreign writer and a relay are at work.
 * Each read is judged by what was acknowledged: near reads by the bound, all others, and those of the writer's own
 * process, at once.
 */
export async function runNear(options: NearRunOptions): Promise<NearRunResult> {
  const redis = await startRedis({ owned: true });
  const proxies = await Promise.all(
    Array.from({ length: PROCESSES }, () => startProxy({ target: redis.url.replace('redis:', 'tcp:') })),
  );
  const run = new NearRun(options, redis, proxies);
  try {
    return await run.go();
  } finally {
    await run.close();
    await Promise.all(proxies.map((proxy) => proxy.stop()));
    await redis.stop();
  }
}

class NearRun {
  readonly #options: NearRunOptions;
  readonly #redis: RedisService;
  readonly #proxies: readonly TcpProxy[];
  readonly #admin: Redis;
  readonly #checker: NearChecker;
  readonly #store = memoryStore<Row>({ name: 'rows' });
  readonly #clients: Redis[] = [];
  readonly #processes: readonly Process[];
  readonly #breaks: Record<string, number> = {};
  readonly #samples: string[] = [];
  #reads = 0;
  #nearReads = 0;
  #lists = 0;
  #nearLists = 0;
  #writes = 0;
  #stale = 0;

  constructor(options: NearRunOptions, redis: RedisService, proxies: readonly TcpProxy[]) {
    this.#options = options;
    this.#redis = redis;
    this.#proxies = proxies;
    this.#admin = quiet(new Redis(redis.url, { maxRetriesPerRequest: 0 }));
    this.#checker = new NearChecker(KEYS.length, PROCESSES, options.maxStaleMs);
    this.#processes = proxies.map((proxy, index) =>
      this.#process(proxy, seededRandom(options.seed, 100 + index)),
    );
  }

  #process(proxy: TcpProxy, random: Random): Process {
    const client = proxied(this.#redis.url, proxy.port);
    this.#clients.push(client);
    const cache = without(this.#options.control, redisCache({ client, commandTimeoutMs: 200 }), random);
    const lockstep = createLockstep({ cache, cacheTimeoutMs: 150 });
    const { maxStaleMs } = this.#options;
    const near = { maxItems: 1_000, maxStaleMs };
    const rows = lockstep.collection<Row>({ name: 'rows', store: this.#store, near });
    return { lockstep, rows, list: this.#list(lockstep, near) };
  }

  /** Over a collection of its own: rows whose tags are told have no near entries of their own beside them. */
  #list(lockstep: Lockstep, near: { maxItems: number; maxStaleMs: number }): Process['list'] {
    const tagged = lockstep.collection<Row>({ name: 'tagged', store: this.#store, tags: ['group'] });
    const lists: View<number, number[]> = lockstep.view({
      name: 'lists',
      load: async (group) => {
        const found = await this.#store.read(keysOf(group), { timeoutMs: 1_000, primary: true });
        return found.map((row) => row?.version ?? 0);
      },
      dependsOn: (group) => tagged.where({ group: `${group}` }),
      near,
    });
    let from: string | undefined;
    lockstep.events.on('hit', (hit) => {
      from = hit.from;
    });
    return (group) => {
      from = undefined;
      const versions = lists.get(group);
      // Of a near hit the event comes within the call.
      return { isNear: from === 'near', versions };
    };
  }

  async go(): Promise<NearRunResult> {
    const startedAtMs = performance.now();
    const relay = this.#processes[0]?.lockstep.startRelay();
    await Promise.all([
      ...this.#processes.map((_, index) => this.#read(index)),
      ...this.#processes.map((_, index) => this.#write(index)),
      this.#foreign(),
      this.#break(),
    ]);
    await relay?.stop();
    return {
      seed: this.#options.seed,
      reads: this.#reads,
      nearReads: this.#nearReads,
      lists: this.#lists,
      nearLists: this.#nearLists,
      writes: this.#writes,
      seconds: (performance.now() - startedAtMs) / 1_000,
      breaks: this.#breaks,
      stale: this.#stale,
      samples: this.#samples,
    };
  }

  get #over(): boolean {
    const { nearListsAtLeast = 0, reads, untilStale } = this.#options;
    if (untilStale === true && this.#stale > 0) return true;
    return this.#reads >= reads && this.#nearLists >= nearListsAtLeast;
  }

  async #read(index: number): Promise<void> {
    const random = seededRandom(this.#options.seed, index);
    const { list, rows } = this.#processes[index] as Process;
    while (!this.#over) {
      for (let i = 0; i < READS_AT_ONCE; i++) {
        if (random() < LISTS) await this.#judgeList(index, list, randomInt(random, 0, GROUPS - 1));
        else await this.#judge(index, rows, randomInt(random, 0, KEYS.length - 1));
      }
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }

  async #judge(index: number, rows: Collection<Row>, key: number): Promise<void> {
    const beginMs = performance.now();
    const owed = this.#checker.owed(key, index, beginMs);
    const { from, version } = await rows.getVersioned(KEYS[key] as string);
    this.#reads++;
    if (from === 'near') this.#nearReads++;
    const least = from === 'near' ? owed.near : owed.now;
    if (version >= least) return;
    this.#stale++;
    this.#sample(`${KEYS[key]} of process ${index} (${from}): ${version}, owed ${least}`, beginMs);
  }

  async #judgeList(index: number, list: Process['list'], group: number): Promise<void> {
    const beginMs = performance.now();
    const keys = numbersOf(group);
    const owed = keys.map((key) => this.#checker.owed(key, index, beginMs));
    const { isNear, versions } = list(group);
    const found = await versions;
    this.#reads++;
    this.#lists++;
    if (isNear) this.#nearLists++;
    const least = owed.map(({ near, now }) => (isNear ? near : now));
    const late = least.findIndex((version, i) => (found[i] as number) < version);
    if (late < 0) return;
    this.#stale++;
    const where = `list ${group} of process ${index} (${isNear ? 'near' : 'beyond'})`;
    this.#sample(`${where}: ${KEYS[keys[late] as number]} at ${found[late]}, owed ${least[late]}`, beginMs);
  }

  #sample(what: string, beginMs: number): void {
    if (this.#samples.length >= SAMPLES) return;
    this.#samples.push(`${what}, after ${(performance.now() - beginMs).toFixed(1)} ms`);
  }

  async #write(index: number): Promise<void> {
    const random = seededRandom(this.#options.seed, 20 + index);
    const { rows } = this.#processes[index] as Process;
    while (!this.#over) {
      const key = randomInt(random, 0, KEYS.length - 1);
      const written = await rows.put(KEYS[key] as string, this.#row(key)).catch(() => undefined);
      const isPromised = written?.cache === 'updated' || written?.cache === 'invalidated';
      if (written !== undefined && isPromised)
        this.#checker.acknowledged(key, index, written.version, performance.now());
      await pause(MAX_WRITE_PAUSE_MS * random());
    }
  }

  async #foreign(): Promise<void> {
    const random = seededRandom(this.#options.seed, 40);
    while (!this.#over) {
      const key = randomInt(random, 0, KEYS.length - 1);
      await this.#store.foreignWrite(KEYS[key] as string, this.#row(key));
      await pause(20 * random());
    }
  }

  #row(key: number): Row {
    return { n: this.#writes++, group: key < LISTED ? `${key % GROUPS}` : 'none' };
  }

  async #break(): Promise<void> {
    const random = seededRandom(this.#options.seed, 60);
    const { breaks = BREAKS } = this.#options;
    const parts = {
      redis: this.#redis,
      proxies: this.#proxies,
      admin: () => this.#admin,
      random,
    };
    while (!this.#over && breaks.length > 0) {
      const what = randomChoice(random, breaks);
      await breakOnce(what, parts).catch(() => undefined);
      this.#breaks[what] = (this.#breaks[what] ?? 0) + 1;
      await pause(MAX_CALM_MS * random());
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#processes.map(({ lockstep }) => lockstep.close()));
    for (const client of [...this.#clients, this.#admin]) client.disconnect();
  }
}

/** The places in `KEYS` of a group's rows. */
function numbersOf(group: number): number[] {
  return Array.from({ length: LISTED / GROUPS }, (_, i) => group + i * GROUPS);
}

function keysOf(group: number): string[] {
  return numbersOf(group).map((n) => KEYS[n] as string);
}

type LegacyOptions = RedisOptions & { replyMapping?: 'legacy' };

/** A client whose commands go to the server, and the connections that tell of changes through a proxy. */
function proxied(url: string, proxyPort: number): Redis {
  const { hostname: host, port } = new URL(url);
  const options: LegacyOptions = {
    host,
    retryStrategy: () => 20,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
  };
  const client = quiet(new Redis({ ...options, port: Number(port) }));
  client.duplicate = ((override: Partial<RedisOptions>) =>
    new Redis({ ...options, ...override, port: proxyPort } as LegacyOptions)) as typeof client.duplicate;
  return client;
}

function quiet<Client extends Redis>(client: Client): Client {
  client.on('error', () => undefined);
  return client;
}
