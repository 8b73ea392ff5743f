import { Command } from 'commander';
import { ALL_COMMAND, allCommand } from './cli/all.js';
import { peerSuites } from './cli/beside-peers.js';
import { chartsCommand } from './cli/charts.js';
import { compareCommand } from './cli/compare.js';
import { fleetSuites } from './cli/fleet.js';
import { ownSuites } from './cli/own.js';

const program = new Command('bench')
  .description(
    'Benchmarks, side by side with peers. Results go to standard output, progress to standard error.',
  )
  .usage('[suite] [options]')
  .showHelpAfterError('(pnpm bench --help lists the suites, pnpm bench <suite> --help its options)')
  .showSuggestionAfterError();

allCommand(program);
ownSuites(program);
peerSuites(program);
fleetSuites(program);
compareCommand(program);
chartsCommand(program);

const [, , first] = process.argv;
const ofProgram = first !== undefined && (!first.startsWith('-') || first === '--help' || first === '-h');
await program.parseAsync(ofProgram ? process.argv : process.argv.toSpliced(2, 0, ALL_COMMAND));
