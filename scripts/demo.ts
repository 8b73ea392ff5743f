/** `pnpm demo [option …]`: builds the shop and runs it; it ends with this script. */
import { run } from './lib/run.ts';
import { build } from './lib/turbo.ts';

const built = await build(['@lockstep/demo']);
process.exitCode =
  built === 0 ? await run('node', ['apps/demo/dist/cli.js', ...process.argv.slice(2)]) : built;
