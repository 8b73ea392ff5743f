/** `pnpm check:types`: builds, then compiles what is never built: tests and these scripts. */
import { run } from './lib/run.ts';
import { build } from './lib/turbo.ts';

const codes = [
  await build(),
  await run('tsc', ['-p', 'tsconfig.test.json']),
  await run('tsc', ['-p', 'scripts/tsconfig.json']),
];
process.exitCode = codes.some((code) => code !== 0) ? 1 : 0;
