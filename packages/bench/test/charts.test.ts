import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { Section } from '../src/all.js';
import { draw } from '../src/charts/draw.js';
import { readResults } from '../src/charts/results.js';
import { page } from '../src/charts/tables.js';

const section = (ours: number): Section => ({
  ours: { 'put, 1 writer': ours },
  peers: { 'by hand': { 'put, 1 writer': 4 }, 'a & <b>': { 'put, 1 writer': 2 } },
  limit: { 'the bare clients': { 'put, 1 writer': 1 } },
  ratio: { 'by hand': { 'put, 1 writer': ours / 4 } },
  unit: { 'put, 1 writer': 'ms' },
});

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

function files(...results: readonly object[]): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'charts-'));
  folders.push(folder);
  return results.map((result, n) => {
    const file = join(folder, `${n}.json`);
    writeFileSync(file, JSON.stringify(result));
    return file;
  });
}

test('charts and tables are of the medians of all runs', () => {
  const runs = files(
    { writes: section(9) },
    { writes: section(5) },
    { writes: section(6), machine: { cores: 2 } },
  );
  const results = readResults(runs);
  expect(results.sections['writes']?.ours).toEqual({ 'put, 1 writer': 6 });
  expect(results.sections['writes']?.ratio['by hand']).toEqual({ 'put, 1 writer': 1.5 });
  const text = page(results, draw(results));
  expect(text).toContain('Medians of 3 runs');
  expect(text).toContain('](charts/writes.svg)');
  expect(text).toContain('| put, 1 writer | 6 ms | 4 ms (1.50) | 2 ms | 1 ms |');
  const chart = draw(results).get('writes.svg') ?? '';
  expect(chart).toMatch(/<title id="title">.+<\/title>/);
  expect(chart).toContain('Lockstep 6 ms, by hand 4 ms');
  expect(chart).toContain('prefers-color-scheme: dark');
  expect(chart).toContain('a &amp; &lt;b&gt;');
  expect(chart).not.toContain('NaN');
});

test('the growth of a run is drawn as lines', () => {
  const held = { 'application: rss': 100, 'worker: heap': 5 };
  const growth = {
    samples: [
      { minute: 0, held },
      { minute: 1, held: { ...held, 'application: rss': 200 } },
    ],
    perHour: {},
  };
  const chart = draw(readResults(files({ growth }))).get('growth.svg') ?? '';
  expect(chart).toContain('application, resident: 100 bytes at first, 200 bytes after 1 minutes');
  expect(chart).not.toContain('NaN');
});

test('a file that holds no result is named', () => {
  const [file = ''] = files({ nothing: 1 });
  expect(() => readResults([file])).toThrow(file);
  expect(() => readResults(['/no/such.json'])).toThrow('/no/such.json');
});
