import { writeFileSync } from 'node:fs';
import { Command, InvalidArgumentError } from 'commander';
import { postgresBench } from './bursts/postgres.js';
import { runBursts } from './bursts/scenarios.js';

interface Flags {
  readonly json?: string;
  readonly turns: number;
}

function turnsOf(text: string): number {
  const turns = Number(text);
  if (Number.isInteger(turns) && turns >= 1 && turns <= 1_000) return turns;
  throw new InvalidArgumentError('must be a whole number from 1 to 1000.');
}

const program = new Command('bench').description('Benchmarks, side by side with what people write by hand.');

program
  .command('bursts')
  .description('Bursts of writes: Lockstep against a knex upsert followed by SETEX, on the same servers.')
  .option('--json <file>', 'write the result there, too')
  .option('--turns <n>', 'measured turns of each side, after one that warms up', turnsOf, 5)
  .action(async ({ json, turns }: Flags) => {
    const bench = await postgresBench();
    try {
      const result = await runBursts(bench, 'postgres', turns, (text) => console.error(text));
      const text = `${JSON.stringify(result, null, 2)}\n`;
      console.log(text);
      if (json !== undefined) writeFileSync(json, text);
    } finally {
      await bench.close();
    }
  });

await program.parseAsync();
