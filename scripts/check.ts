/** `pnpm check`: every check there is besides the tests, each to its end, then a summary with times. */

import { join } from 'node:path';
import { type Manifest, ROOT, readJson } from './lib/repository.ts';
import { run } from './lib/run.ts';

const { scripts = {} } = readJson<Manifest>(join(ROOT, 'package.json'));
const results: { readonly name: string; readonly ok: boolean; readonly seconds: string }[] = [];

for (const name of Object.keys(scripts).filter((script) => script.startsWith('check:'))) {
  console.log(`\n── ${name}`);
  const started = Date.now();
  const code = await run('sh', ['-c', `exec ${scripts[name]}`]);
  results.push({ name, ok: code === 0, seconds: ((Date.now() - started) / 1000).toFixed(1) });
}

console.log('');
for (const { name, ok, seconds } of results)
  console.log(`${ok ? 'ok    ' : 'FAILED'} ${name} (${seconds} s)`);
process.exitCode = results.every(({ ok }) => ok) ? 0 : 1;
