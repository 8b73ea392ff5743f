import { type Command, Option } from 'commander';
import { COSTS, OPERATIONS, type Operation, runCosts } from '../peers/costs.js';
import { LOG, runLog } from '../peers/log.js';
import { MEMORY, runMemory } from '../peers/memory.js';
import { MISSES, runMisses } from '../peers/misses.js';
import { MIX, runMix } from '../peers/mix.js';
import { PAYLOADS, runPayloads } from '../peers/payloads.js';
import type { PeerName } from '../peers/peers.js';
import { PROCESSES, runProcesses } from '../peers/processes.js';
import { PRODUCTION, PRODUCTION_MIXES, runProduction } from '../peers/production.js';
import { runSizes, SIZES } from '../peers/sizes.js';
import { runStampede, STAMPEDE } from '../peers/stampede.js';
import { runTransactions, TRANSACTIONS } from '../peers/transactions.js';
import { runWrites, WRITES } from '../peers/writes.js';
import {
  type Flags,
  integer,
  json,
  names,
  peers,
  pool,
  progress,
  store,
  turnMs,
  turns,
  write,
} from './options.js';

/** A suite beside other caches, which all stand before the same database and Redis. */
interface PeerSuite {
  readonly name: string;
  readonly description: string;
  readonly defaults: {
    readonly peers: readonly PeerName[];
    readonly pool: number;
    readonly turns?: number;
    readonly turnMs?: number;
  };
  readonly options?: readonly Option[];
  readonly run: (flags: never) => Promise<object>;
}

const largest = () =>
  new Option('--largest <n>', 'rows of the largest table; 10000000 takes minutes and 10 GB')
    .argParser(integer(1_000, 10_000_000))
    .default(SIZES.sizes.at(-1));

const SUITES: readonly PeerSuite[] = [
  {
    name: 'writes',
    description: 'Rows into the table and the cache, of 1 and 256 writers.',
    defaults: WRITES,
    run: (flags: Flags) => runWrites({ ...WRITES, ...flags }, progress),
  },
  {
    name: 'misses',
    description: 'Reads of rows that nobody has read: from the table, and into the cache.',
    defaults: MISSES,
    run: (flags: Flags) => runMisses({ ...MISSES, ...flags }, progress),
  },
  {
    name: 'stampede',
    description: 'Many readers of one cold key in 1 and 4 processes: how often the database is asked.',
    defaults: STAMPEDE,
    run: (flags: Flags) => runStampede({ ...STAMPEDE, ...flags }, progress),
  },
  {
    name: 'mix',
    description: 'Readers and writers at once, keys by Zipf’s law, and how many keys are stale afterwards.',
    defaults: MIX,
    run: (flags: Flags) => runMix({ ...MIX, ...flags }, progress),
  },
  {
    name: 'production',
    description: 'Ten mixes of clusters that Twitter has published, and how many keys are stale afterwards.',
    defaults: PRODUCTION,
    options: [
      names(
        '--only <names>',
        'mixes',
        PRODUCTION_MIXES.map(({ name }) => name),
      ),
    ],
    run: ({ only, ...flags }: Flags & { readonly only: readonly string[] }) => {
      const mixes = PRODUCTION_MIXES.filter(({ name }) => only.includes(name));
      return runProduction({ ...PRODUCTION, ...flags, mixes }, progress);
    },
  },
  {
    name: 'transactions',
    description: 'Three rows in one transaction, then into the cache.',
    defaults: TRANSACTIONS,
    run: (flags: Flags) => runTransactions({ ...TRANSACTIONS, ...flags }, progress),
  },
  {
    name: 'payloads',
    description: 'Hits and puts of rows of 300 B, 10 kB and 100 kB.',
    defaults: PAYLOADS,
    run: (flags: Flags) => runPayloads({ ...PAYLOADS, ...flags }, progress),
  },
  {
    name: 'sizes',
    description: 'Misses, hits and puts on tables of 10,000 rows and more.',
    defaults: SIZES,
    options: [largest()],
    run: (flags: Flags & { readonly largest: number }) => {
      const sizes = [...SIZES.sizes, 10_000_000].filter((size) => size <= flags.largest);
      return runSizes({ ...SIZES, ...flags, sizes: sizes.length > 0 ? sizes : [flags.largest] }, progress);
    },
  },
  {
    name: 'processes',
    description: 'Hits and puts of 1 to 4 processes at once.',
    defaults: PROCESSES,
    run: (flags: Flags) => runProcesses({ ...PROCESSES, ...flags }, progress),
  },
  {
    name: 'memory',
    description: 'Bytes of an entry in Redis and in the process.',
    defaults: MEMORY,
    run: (flags: Flags) => runMemory({ ...MEMORY, ...flags }, progress),
  },
  {
    name: 'costs',
    description: 'Processor time of each kind of call: of the application, the database and the cache.',
    defaults: COSTS,
    options: [names('--only <names>', 'kinds of calls', OPERATIONS)],
    run: ({ only, ...flags }: Flags & { readonly only: readonly Operation[] }) =>
      runCosts({ ...COSTS, ...flags, operations: only }, progress),
  },
  {
    name: 'log',
    description: 'Bytes that a write adds to the database’s log, and to the records of changes.',
    defaults: LOG,
    run: (flags: Flags) => runLog({ ...LOG, ...flags }, progress),
  },
];

export function peerSuites(program: Command): void {
  for (const { defaults, description, name, options = [], run } of SUITES) {
    const command = program.command(name).description(description);
    for (const option of [json(), store(), peers(defaults.peers), pool(defaults.pool), ...options]) {
      command.addOption(option);
    }
    if (defaults.turns !== undefined) command.addOption(turns(defaults.turns));
    if (defaults.turnMs !== undefined) command.addOption(turnMs(defaults.turnMs));
    command.action(async (flags: Flags) => write({ [name]: await run(flags as never) }, flags.json));
  }
}
