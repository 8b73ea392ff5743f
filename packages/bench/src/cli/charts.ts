import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { draw } from '../charts/draw.js';
import { readResults } from '../charts/results.js';
import { tables } from '../charts/tables.js';
import { progress } from './options.js';

export function chartsCommand(program: Command): void {
  program
    .command('charts')
    .description(
      'Draws results as SVG, and prints them as tables: the medians of the runs that the files hold.',
    )
    .argument('<files...>', 'what bench, bench all or bench growth wrote with --json')
    .addOption(new Option('--out <folder>', 'where the charts go').default('docs/charts'))
    .action((files: string[], { out }: { readonly out: string }) => {
      let results: ReturnType<typeof readResults>;
      try {
        results = readResults(files);
      } catch (error) {
        program.error(`error: ${error instanceof Error ? error.message : String(error)}`);
      }
      mkdirSync(out, { recursive: true });
      for (const [name, svg] of draw(results)) {
        writeFileSync(join(out, name), svg);
        progress(join(out, name));
      }
      console.log(tables(results));
    });
}
