import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { draw } from '../charts/draw.js';
import { readResults } from '../charts/results.js';
import { page } from '../charts/tables.js';
import { progress } from './options.js';

export function chartsCommand(program: Command): void {
  program
    .command('charts')
    .description(
      'Draws results as SVG, on a page with their tables: medians of the runs that the files hold.',
    )
    .argument('<files...>', 'what bench, bench all or bench growth wrote with --json')
    .addOption(
      new Option('--out <folder>', 'where benchmarks.md and its folder of charts go').default('docs'),
    )
    .action((files: string[], { out }: { readonly out: string }) => {
      let results: ReturnType<typeof readResults>;
      try {
        results = readResults(files);
      } catch (error) {
        program.error(`error: ${error instanceof Error ? error.message : String(error)}`);
      }
      const charts = draw(results);
      mkdirSync(join(out, 'charts'), { recursive: true });
      for (const [name, svg] of charts) {
        writeFileSync(join(out, 'charts', name), svg);
        progress(join(out, 'charts', name));
      }
      // The growth of an hour has its place on the page on performance.
      if (Object.keys(results.sections).length === 0) return;
      writeFileSync(join(out, 'benchmarks.md'), page(results, charts));
      progress(join(out, 'benchmarks.md'));
    });
}
