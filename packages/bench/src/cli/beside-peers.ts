import type { Command } from 'commander';
import { MIX, runMix } from '../peers/mix.js';
import { runStampede, STAMPEDE } from '../peers/stampede.js';
import { runWrites, WRITES } from '../peers/writes.js';
import { type Flags, json, peers, progress, turns, write } from './options.js';

/** A suite beside the other caches, which all stand before the same database and Redis. */
interface PeerSuite {
  readonly name: string;
  readonly description: string;
  readonly defaults: { readonly turns: number };
  readonly run: (flags: Flags) => Promise<object>;
}

const SUITES: readonly PeerSuite[] = [
  {
    name: 'writes',
    description: 'Rows into the table and the cache.',
    defaults: WRITES,
    run: (flags) => runWrites({ ...WRITES, ...flags }, progress),
  },
  {
    name: 'stampede',
    description: 'Many readers of one cold key: how often the database is asked.',
    defaults: STAMPEDE,
    run: (flags) => runStampede({ ...STAMPEDE, ...flags }, progress),
  },
  {
    name: 'mix',
    description: 'Readers and writers at once, keys by Zipf’s law, and how many keys are stale afterwards.',
    defaults: MIX,
    run: (flags) => runMix({ ...MIX, ...flags }, progress),
  },
];

export function peerSuites(program: Command): void {
  for (const { defaults, description, name, run } of SUITES) {
    program
      .command(name)
      .description(`${description} Beside other caches.`)
      .addOption(json())
      .addOption(turns(defaults.turns))
      .addOption(peers())
      .action(async (flags: Flags) => write({ [name]: await run(flags) }, flags.json));
  }
}
