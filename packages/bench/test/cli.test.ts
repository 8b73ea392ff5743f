import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const CLI = fileURLToPath(new URL('../dist/bench.js', import.meta.url));

function bench(...args: string[]): { readonly status: number | null; readonly text: string } {
  const { status, stderr, stdout } = spawnSync(process.execPath, [CLI, ...args], { encoding: 'utf8' });
  return { status, text: stdout + stderr };
}

test('--help lists the suites', () => {
  const { status, text } = bench('--help');
  expect(status).toBe(0);
  for (const suite of ['all', 'writes', 'stampede', 'mix', 'growth']) expect(text).toContain(`  ${suite} `);
});

test.each([
  [['writs'], "unknown command 'writs'", 'Did you mean writes?'],
  [['--turnz'], "unknown option '--turnz'", '--help'],
  [['writes', '--turns', '0'], "option '--turns <n>'", 'a whole number from 1 to 1000'],
  [['mix', '--peers', 'nobody'], 'There is no nobody', 'by hand,bentocache'],
  [['bulk', '--json', tmpdir()], "option '--json <file>'", 'It is a folder'],
  [['bulk', '--json', '/no/such/folder/f.json'], "option '--json <file>'", 'no folder /no/such/folder'],
])('%j is refused before anything starts', (args, ...says) => {
  const { status, text } = bench(...args);
  expect(status).toBe(1);
  for (const each of says) expect(text).toContain(each);
});
