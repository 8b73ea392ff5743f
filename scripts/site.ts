/** `pnpm run site [preview | dev]`: builds the packages, then the documentation's site with its reference; or serves it. */
import { join } from 'node:path';
import { ROOT } from './lib/repository.ts';
import { run } from './lib/run.ts';
import { build } from './lib/turbo.ts';

const SITE = join(ROOT, 'apps/docs');
const [then = ''] = process.argv.slice(2);

function astro(...args: string[]): Promise<number> {
  return run(join(SITE, 'node_modules/.bin/astro'), args, {
    cwd: SITE,
    env: { ASTRO_TELEMETRY_DISABLED: '1' },
  });
}

let code = await build();
if (code === 0 && then !== 'dev') code = await astro('build');
if (code === 0 && then !== '') code = await astro(then);
process.exitCode = code;
