import { type Command, Option } from 'commander';
import { compare } from '../compare/compare.js';
import { PAIRS } from '../compare/interval.js';
import { SUITES, type SuiteName } from '../compare/suites.js';
import { integer, json, names, progress, turnMs, turns, write } from './options.js';

interface CompareFlags {
  readonly suites: readonly SuiteName[];
  readonly pairs: number;
  readonly turns: number;
  readonly turnMs: number;
  readonly limit: number;
  readonly only: string;
  readonly json?: string;
}

export function compareCommand(program: Command): void {
  program
    .command('compare')
    .description(
      'Processor time per call of this checkout against another, built one, in turn. Fails where one is worse beyond doubt.',
    )
    .argument('<checkout>', "the other checkout's folder")
    .addOption(names('--suites <names>', 'what to measure', SUITES))
    .addOption(
      new Option('--pairs <n>', 'pairs of processes').argParser(integer(PAIRS.min, PAIRS.max)).default(10),
    )
    .option('--only <word>', 'the scenarios that have it in their names', '')
    .addOption(turns(6, 'measured turns of each checkout in a pair, after one that warms up'))
    .addOption(turnMs(250))
    .addOption(
      new Option('--limit <percent>', 'the most that a figure may be worse')
        .argParser(integer(0, 1_000))
        .default(5),
    )
    .addOption(json())
    .action(async (before: string, { json: file, limit, only, pairs, suites, ...turn }: CompareFlags) => {
      const options = { before, limitPercent: limit, only, pairs, suites, ...turn };
      const result = await compare(options, progress);
      for (const [name, { high, low, ratio, worse }] of Object.entries(result)) {
        const text = [ratio, low, high].map((each) => each.toFixed(3));
        progress(`${name.padEnd(30)} ${text[0]} (${text[1]} to ${text[2]})${worse ? '  worse' : ''}`);
      }
      write(result, file);
      // One process may cost more and another less: the sum counts.
      if (Object.entries(result).some(([name, { worse }]) => worse && !name.includes(':'))) {
        process.exitCode = 1;
      }
    });
}
