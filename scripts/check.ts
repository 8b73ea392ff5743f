/**
 * `pnpm check`: every check there is besides the tests, each to its end, then a summary with times. What a
 * check prints is shown where it failed.
 */
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Manifest, ROOT, readJson } from './lib/repository.ts';
import { run } from './lib/run.ts';

const { scripts = {} } = readJson<Manifest>(join(ROOT, 'package.json'));
const LOGS = join(ROOT, '.turbo');
mkdirSync(LOGS, { recursive: true });
const results: { readonly name: string; readonly ok: boolean; readonly seconds: string }[] = [];

for (const name of Object.keys(scripts).filter((script) => script.startsWith('check:'))) {
  console.log(`── ${name}`);
  const started = Date.now();
  const file = join(LOGS, `${name.replace(':', '-')}.log`);
  const log = openSync(file, 'w');
  const code = await run('sh', ['-c', `exec ${scripts[name]}`], { output: log });
  closeSync(log);
  if (code !== 0) console.log(readFileSync(file, 'utf8'));
  results.push({ name, ok: code === 0, seconds: ((Date.now() - started) / 1000).toFixed(1) });
}

console.log('');
for (const { name, ok, seconds } of results)
  console.log(`${ok ? 'ok    ' : 'FAILED'} ${name} (${seconds} s)`);
process.exitCode = results.every(({ ok }) => ok) ? 0 : 1;
