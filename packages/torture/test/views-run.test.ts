import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import type { ViewsResult } from '../src/views/result.js';

const PROGRAM = fileURLToPath(new URL('../dist/cli.js', import.meta.url));
/** Real servers and many processes, on a machine that may be busy. */
const LONG_MS = 300_000;
const folder = mkdtempSync(join(tmpdir(), 'lockstep-crash-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

test(
  'processes are killed and the cache is broken under load, and views show what was acknowledged (G2, G5, G6)',
  () => {
    const file = join(folder, 'result.json');
    const args = ['views', '--kills', '4', '--seed', '1', '--json', file];
    const run = spawnSync(process.execPath, [PROGRAM, ...args], { encoding: 'utf8', timeout: 280_000 });
    expect(run.stderr).not.toMatch(/Error/);
    const result = JSON.parse(readFileSync(file, 'utf8')) as ViewsResult;
    expect(result).toMatchObject({ stale: 0, wrong: 0, lost: 0, differing: 0, clean: true });
    expect(result.promised).toBeGreaterThan(20);
    expect(result.reads).toBeGreaterThan(100);
    expect(run.status).toBe(0);
  },
  LONG_MS,
);
