import { writeFileSync } from 'node:fs';
import { Command, InvalidArgumentError, Option } from 'commander';
import { ALL, runAll } from './all.js';
import { BULK, runBulk } from './bulk.js';
import { bufferAck } from './bursts/buffer-ack.js';
import { mongoBench } from './bursts/mongo.js';
import { postgresBench } from './bursts/postgres.js';
import { runBursts, SCENARIO_NAMES } from './bursts/scenarios.js';
import { compare } from './compare/compare.js';
import { PAIRS } from './compare/interval.js';
import { SUITES, type SuiteName } from './compare/suites.js';
import { CONTENTION, runContention } from './contention.js';
import { HITS, runHits } from './hits.js';
import { NEAR_BENCH, runNear } from './near.js';
import { MIX, runMix } from './peers/mix.js';
import { PEERS } from './peers/peers.js';
import { runStampede, STAMPEDE } from './peers/stampede.js';
import { runWrites, WRITES } from './peers/writes.js';
import { PLANS, runPlans } from './plans.js';
import { runReads } from './reads.js';
import { RELAY_BENCH, runRelay } from './relay.js';
import { runStrategies } from './strategies.js';
import { runViews } from './views.js';

const STORES = { postgres: postgresBench, mongo: mongoBench };

interface Flags {
  readonly store: keyof typeof STORES;
  readonly json?: string;
  readonly turns: number;
  readonly pool: number;
  readonly only: readonly string[];
}

interface SizedFlags extends Pick<Flags, 'json' | 'pool' | 'turns'> {
  readonly changes: number;
}

const MAX_SIZE = 100_000_000;

function countOf(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= 1_000) return count;
  throw new InvalidArgumentError('must be a whole number from 1 to 1000.');
}

function sizeOf(text: string): number {
  const size = Number(text);
  if (Number.isInteger(size) && size >= 1 && size <= MAX_SIZE) return size;
  throw new InvalidArgumentError(`must be a whole number from 1 to ${MAX_SIZE}.`);
}

function scenariosOf(text: string): string[] {
  const names = text.split(',');
  if (names.every((name) => SCENARIO_NAMES.includes(name))) return names;
  throw new InvalidArgumentError(`must be some of ${SCENARIO_NAMES.join(',')}.`);
}

function suitesOf(text: string): SuiteName[] {
  const names = text.split(',');
  const suites = SUITES.filter((suite) => names.includes(suite));
  if (suites.length === names.length) return suites;
  throw new InvalidArgumentError(`must be some of ${SUITES.join(',')}.`);
}

function peersOf(text: string): (keyof typeof PEERS)[] {
  const names = text.split(',');
  const peers = (Object.keys(PEERS) as (keyof typeof PEERS)[]).filter((name) => names.includes(name));
  if (peers.length === names.length) return peers;
  throw new InvalidArgumentError(`must be some of ${Object.keys(PEERS).join(',')}.`);
}

interface PeerFlags extends Pick<Flags, 'json' | 'turns'> {
  readonly peers: (keyof typeof PEERS)[];
}

/** A suite beside the other caches, which all stand before the same Postgres and Redis. */
function peerSuite(name: string, description: string, turns: number): Command {
  return program
    .command(name)
    .description(description)
    .option('--json <file>', 'write the result there, too')
    .option('--turns <n>', 'measured turns of each side, after one that warms up', countOf, turns)
    .addOption(
      new Option('--peers <names>', 'which caches beside ours, with commas between')
        .argParser(peersOf)
        .default(Object.keys(PEERS), Object.keys(PEERS).join(',')),
    );
}

function storeOption(): Option {
  return new Option('--store <name>', 'the system of record')
    .choices(Object.keys(STORES))
    .default('postgres');
}

function progress(text: string): void {
  console.error(text);
}

function write(result: object, json: string | undefined): void {
  const text = `${JSON.stringify(result, null, 2)}\n`;
  console.log(text);
  if (json !== undefined) writeFileSync(json, text);
}

const program = new Command('bench').description('Benchmarks, side by side with what people write by hand.');

program
  .command('bursts')
  .description(
    'Bursts of writes: Lockstep against an upsert (knex, or the driver of MongoDB) followed by SETEX, on the same servers.',
  )
  .addOption(storeOption())
  .option('--json <file>', 'write the result there, too')
  .option('--turns <n>', 'measured turns of each side, after one that warms up', countOf, 5)
  .option('--pool <n>', 'connections to the database, of each side', countOf, 20)
  .option('--only <names>', 'scenarios, with commas between', scenariosOf, SCENARIO_NAMES)
  .action(async ({ store, json, turns, pool, only }: Flags) => {
    const bench = await STORES[store](pool);
    const result = await runBursts(bench, store, turns, only, progress).finally(() => bench.close());
    const bufferAckMs = only.includes('bufferAck') ? await bufferAck(store, turns, progress) : undefined;
    write({ ...result, bufferAckMs }, json);
  });

program
  .command('reads')
  .description("Hits: Lockstep against the bare client's GET and JSON.parse, on the same server.")
  .option('--json <file>', 'write the result there, too')
  .option('--turns <n>', 'measured turns of each side, after one that warms up', countOf, 5)
  .action(async ({ json, turns }: Pick<Flags, 'json' | 'turns'>) => {
    write(await runReads(turns, progress), json);
  });

program
  .command('hits')
  .description("Hits by get and getMany: Lockstep against the bare client's GET, MGET and JSON.parse.")
  .option('--json <file>', 'write the result there, too')
  .option('--turns <n>', 'measured turns of each side, after one that warms up', countOf, HITS.turns)
  .option('--turn-ms <n>', 'how long each turn goes on', countOf, HITS.turnMs)
  .action(async ({ json, turnMs, turns }: Pick<Flags, 'json' | 'turns'> & { readonly turnMs: number }) => {
    write(await runHits({ turns, turnMs }, progress), json);
  });

program
  .command('near')
  .description(
    'Hits in the process: near entries against the memory layer of bentocache and an LRU by hand, in turn.',
  )
  .option('--json <file>', 'write the result there, too')
  .option('--turns <n>', 'measured turns of each side, after one that warms up', countOf, NEAR_BENCH.turns)
  .action(async ({ json, turns }: Pick<Flags, 'json' | 'turns'>) => {
    write({ near: await runNear({ ...NEAR_BENCH, turns }, progress) }, json);
  });

program
  .command('contention')
  .description(
    'One hot row: Lockstep against SELECT … FOR UPDATE (knex) followed by SETEX, on the same servers.',
  )
  .option('--json <file>', 'write the result there, too')
  .option('--turns <n>', 'measured turns of each side, after one that warms up', countOf, CONTENTION.turns)
  .option('--pool <n>', 'connections to the database, of each side', countOf, CONTENTION.pool)
  .action(async ({ json, pool, turns }: Pick<Flags, 'json' | 'pool' | 'turns'>) => {
    write({ contention: await runContention({ ...CONTENTION, pool, turns }, progress) }, json);
  });

program
  .command('plans')
  .description(
    'Explains every statement on tables of 100 rows and up. Fails where one touches more than 20 + 10 buffers for each row.',
  )
  .option('--json <file>', 'write the result there, too')
  .option('--largest <n>', 'rows of the largest table', sizeOf, PLANS.sizes.at(-1))
  .option('--feed <n>', 'records of a full feed', sizeOf, PLANS.feed)
  .action(
    async ({
      feed,
      json,
      largest,
    }: Pick<Flags, 'json'> & { readonly feed: number; readonly largest: number }) => {
      const sizes = PLANS.sizes.filter((size) => size <= largest);
      const plans = await runPlans({ feed, sizes }, progress);
      write({ plans }, json);
      if (plans.excesses.length > 0) process.exitCode = 1;
    },
  );

program
  .command('relay')
  .description('A backlog of changes that others have made, drained by one relay.')
  .option('--json <file>', 'write the result there, too')
  .option('--turns <n>', 'backlogs of each kind', countOf, RELAY_BENCH.turns)
  .option('--pool <n>', "the relay's connections to the database", countOf, RELAY_BENCH.pool)
  .option('--changes <n>', 'changes of a backlog', sizeOf, RELAY_BENCH.changes)
  .action(async ({ changes, json, pool, turns }: SizedFlags) => {
    write({ relay: await runRelay({ ...RELAY_BENCH, changes, pool, turns }, progress) }, json);
  });

program
  .command('all')
  .description('Every suite below in one run, in one form: ours, peers, limit, ratio.')
  .option('--json <file>', 'write the result there, too')
  .option('--turns <n>', 'measured turns of each side in each suite', countOf)
  .action(async ({ json, turns }: Partial<Pick<Flags, 'json' | 'turns'>>) => {
    const options = Object.entries(ALL).map(([suite, own]) => [
      suite,
      turns === undefined || !('turns' in own) ? own : { ...own, turns },
    ]);
    write(await runAll(Object.fromEntries(options) as typeof ALL, progress), json);
  });

peerSuite('writes', 'Rows into the table and the cache, beside other caches.', WRITES.turns).action(
  async ({ json, peers, turns }: PeerFlags) => {
    write({ writes: await runWrites({ ...WRITES, peers, turns }, progress) }, json);
  },
);

peerSuite(
  'stampede',
  'Many readers of one cold key: how often the database is asked.',
  STAMPEDE.turns,
).action(async ({ json, peers, turns }: PeerFlags) => {
  write({ stampede: await runStampede({ ...STAMPEDE, peers, turns }, progress) }, json);
});

peerSuite(
  'mix',
  'Readers and writers at once, keys by Zipf’s law, and how many keys are stale when they are done.',
  MIX.turns,
).action(async ({ json, peers, turns }: PeerFlags) => {
  write({ mix: await runMix({ ...MIX, peers, turns }, progress) }, json);
});

program
  .command('bulk')
  .description('Statements of others that write many rows at once: on an attached table against a plain one.')
  .option('--json <file>', 'write the result there, too')
  .option('--turns <n>', 'measured turns, after one that warms up', countOf, BULK.turns)
  .option('--rows <n>', 'rows of a statement', sizeOf, BULK.rows)
  .action(async ({ json, rows, turns }: Pick<Flags, 'json' | 'turns'> & { readonly rows: number }) => {
    write({ bulk: await runBulk({ rows, turns }, progress) }, json);
  });

program
  .command('strategies')
  .description('Write-through, cache-aside and write-behind, on the same servers.')
  .addOption(storeOption())
  .option('--json <file>', 'write the result there, too')
  .option('--turns <n>', 'measured turns of each strategy, after one that warms up', countOf, 5)
  .action(async ({ json, store, turns }: Pick<Flags, 'json' | 'store' | 'turns'>) => {
    write(await runStrategies(store, turns, progress), json);
  });

program
  .command('views')
  .description(
    "Views' hits against rows', writes with 0, 1 and 4 tags, and the end of a tag with many views behind it.",
  )
  .option('--json <file>', 'write the result there, too')
  .option('--turns <n>', 'measured turns, after one that warms up', countOf, 5)
  .option('--views <n>', 'views behind the tag that ends', Number, 1_000_000)
  .action(async ({ json, turns, views }: Pick<Flags, 'json' | 'turns'> & { readonly views: number }) => {
    write(await runViews(turns, views, progress), json);
  });

function pairsOf(text: string): number {
  const pairs = countOf(text);
  if (pairs >= PAIRS.min && pairs <= PAIRS.max) return pairs;
  throw new InvalidArgumentError(`must be from ${PAIRS.min} to ${PAIRS.max}.`);
}

interface CompareFlags {
  readonly suites: readonly SuiteName[];
  readonly pairs: number;
  readonly turns: number;
  readonly turnMs: number;
  readonly limit: number;
  readonly only: string;
  readonly json?: string;
}

program
  .command('compare')
  .description(
    'Processor time per call of this checkout against another, built one, in turn. Fails where one is worse beyond doubt.',
  )
  .argument('<checkout>', "the other checkout's folder")
  .addOption(
    new Option('--suites <names>', 'what to measure, with commas between')
      .argParser(suitesOf)
      .default(SUITES, SUITES.join(',')),
  )
  .option('--pairs <n>', `pairs of processes, ${PAIRS.min} to ${PAIRS.max}`, pairsOf, 10)
  .option('--only <word>', 'the scenarios that have it in their names', '')
  .option('--turns <n>', 'measured turns of each checkout in a pair, after one that warms up', countOf, 6)
  .option('--turn-ms <n>', 'how long each turn goes on', Number, 250)
  .option('--limit <percent>', 'the most that a figure may be worse', Number, 5)
  .option('--json <file>', 'write the result there, too')
  .action(async (before: string, { json, limit, only, pairs, suites, turnMs, turns }: CompareFlags) => {
    const result = await compare(
      { before, limitPercent: limit, only, pairs, suites, turnMs, turns },
      progress,
    );
    for (const [name, { high, low, ratio, worse }] of Object.entries(result)) {
      const text = [ratio, low, high].map((each) => each.toFixed(3));
      progress(`${name.padEnd(30)} ${text[0]} (${text[1]} to ${text[2]})${worse ? '  worse' : ''}`);
    }
    write(result, json);
    // One process may cost more and another less: the sum counts.
    if (Object.entries(result).some(([name, { worse }]) => worse && !name.includes(':')))
      process.exitCode = 1;
  });

await program.parseAsync();
