import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import type { CrashResult } from '../src/crash/result.js';

const PROGRAM = fileURLToPath(new URL('../dist/cli.js', import.meta.url));
/** Real servers and many processes, on a machine that may be busy. */
const LONG_MS = 300_000;
const folder = mkdtempSync(join(tmpdir(), 'lockstep-crash-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

function crash(...args: readonly string[]) {
  return spawnSync(process.execPath, [PROGRAM, ...args], { encoding: 'utf8', timeout: 280_000 });
}

test(
  'processes and the cache are killed under load, and nothing acknowledged is lost (G9)',
  () => {
    const file = join(folder, 'result.json');
    const run = crash('bursts', '--kills', '6', '--redis-restart', '--seed', '1', '--json', file);
    expect(run.stderr).not.toMatch(/Error/);
    const result = JSON.parse(readFileSync(file, 'utf8')) as CrashResult;
    expect(result).toMatchObject({ kills: 6, lost: 0, reordered: 0, staleReads: 0, clean: true });
    expect(result.acknowledged).toBeGreaterThan(100);
    expect(result.buffered).toBeGreaterThan(0);
    expect(run.status).toBe(0);
  },
  LONG_MS,
);

test(
  'an option that is wrong is named, and nothing is started',
  () => {
    const run = crash('bursts', '--control', 'nothing');
    expect(run.status).toBe(1);
    expect(run.stderr).toContain('--control');
  },
  LONG_MS,
);
