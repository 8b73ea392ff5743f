import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { seededRandom, shuffledIndexes } from '@lockstep/torture';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { weightedDraw } from '../src/load/alias.js';
import { CATALOGUE_MIX, parseMixes } from '../src/load/mix.js';
import { readTrace, TraceFormatError } from '../src/load/trace.js';
import { mixStreams, traceStreams } from '../src/load/workload.js';
import { zipfDraw } from '../src/load/zipf.js';

const TABLE = await readFile(new URL('../data/twitter-2020Mar.md', import.meta.url), 'utf8');

describe('draws', () => {
  test('one seed gives one sequence, another seed another', () => {
    const take = (seed: number, stream: number) => {
      const random = seededRandom(seed, stream);
      return Array.from({ length: 5 }, random);
    };
    expect(take(7, 0)).toEqual(take(7, 0));
    expect(take(7, 0)).not.toEqual(take(8, 0));
    expect(take(7, 0)).not.toEqual(take(7, 1));
  });

  test('a shuffle is a permutation', () => {
    const order = shuffledIndexes(1000, seededRandom(1));
    expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect([...order.slice(0, 5)]).not.toEqual([0, 1, 2, 3, 4]);
  });

  test('weights are kept, a weight of zero is never drawn', () => {
    const random = seededRandom(3);
    const draw = weightedDraw([1, 0, 3]);
    const counts = [0, 0, 0];
    for (let i = 0; i < 40_000; i += 1) {
      const drawn = draw(random);
      counts[drawn] = (counts[drawn] ?? 0) + 1;
    }
    expect(counts[1]).toBe(0);
    expect((counts[2] ?? 0) / (counts[0] ?? 1)).toBeCloseTo(3, 0);
  });

  test.each([0, 0.99, 1.5])("ranks follow Zipf's law with exponent %d", (exponent) => {
    const random = seededRandom(11);
    const draw = zipfDraw(100, exponent);
    const counts = new Float64Array(100);
    const draws = 200_000;
    for (let i = 0; i < draws; i += 1) {
      const rank = draw(random);
      counts[rank] = (counts[rank] ?? 0) + 1;
    }
    let harmonic = 0;
    for (let rank = 1; rank <= 100; rank += 1) harmonic += rank ** -exponent;
    for (const rank of [0, 1, 9]) {
      const expected = ((rank + 1) ** -exponent / harmonic) * draws;
      expect(Math.abs((counts[rank] ?? 0) - expected)).toBeLessThan(5 * Math.sqrt(expected));
    }
  });

  test('what can not be drawn from is refused', () => {
    expect(() => zipfDraw(0, 1)).toThrow(RangeError);
    expect(() => zipfDraw(10, -1)).toThrow(RangeError);
    expect(() => weightedDraw([0, 0])).toThrow(RangeError);
    expect(() => weightedDraw([1, Number.NaN])).toThrow(RangeError);
  });
});

describe('the mixes of the table', () => {
  const mixes = parseMixes(TABLE);

  test('every cluster with an operation mix is there', () => {
    expect(mixes.size).toBe(53);
    expect(mixes.has('cluster5')).toBe(false);
  });

  test('shares, sizes, exponents and times to live are those of the table', () => {
    const mix = mixes.get('cluster12');
    expect(mix?.readShare).toBeCloseTo(0.2);
    expect([...(mix?.writes ?? [])]).toEqual([['put', 0.8]]);
    expect(mix?.zipfExponent).toBe(0.3048);
    expect(mix?.valueBytes).toBe(1030);
    expect(mix?.ttls).toEqual([
      { ttlMs: 300_000, share: 0.98 },
      { ttlMs: 299_000, share: 0.02 },
    ]);
    expect(mixes.get('cluster7')?.ttls[0]).toEqual({ ttlMs: 6_480_000, share: 0.28 });
    expect([...(mixes.get('cluster14')?.writes.keys() ?? [])].sort()).toEqual(['delete', 'put']);
    expect([...(mixes.get('cluster23')?.writes.keys() ?? [])]).toContain('stock');
    expect([...(mixes.get('cluster52')?.writes.keys() ?? [])].sort()).toEqual(['patch', 'put']);
  });

  test('what the table leaves open is said', () => {
    expect(mixes.get('cluster1')?.assumptions.join()).toContain('operations sum up to 0.99');
    expect(mixes.get('cluster43')?.assumptions.join()).toContain('Zipf');
    expect(mixes.get('cluster50')?.assumptions.join()).toContain('cut');
    expect(mixes.get('cluster2')?.readShare).toBe(1);
  });
});

describe('the trace', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lockstep-demo-trace-'));
  });
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });
  const file = async (name: string, text: string) => {
    const path = join(folder, name);
    await writeFile(path, text);
    return path;
  };

  test('operations come in their order, keys become products as they appear', async () => {
    const path = await file(
      'a.csv',
      '0,nz:u:a,6,0,1,get,0\n0,nz:u:b,6,40,2,set,300\n1,nz:u:a,6,0,1,delete,0\n1,with,comma,10,9,3,incr,60\n',
    );
    const trace = await readTrace(path);
    expect(trace).toMatchObject({ length: 4, keys: 3, readShare: 0.25, ratePerSecond: 2, truncated: false });
    expect([0, 1, 2, 3, 4].map((position) => trace.operation(position, 100))).toEqual([
      { kind: 'read', index: 0, valueBytes: 0, ttlMs: 0 },
      { kind: 'put', index: 1, valueBytes: 40, ttlMs: 300_000 },
      { kind: 'delete', index: 0, valueBytes: 0, ttlMs: 0 },
      { kind: 'stock', index: 2, valueBytes: 9, ttlMs: 60_000 },
      { kind: 'read', index: 0, valueBytes: 0, ttlMs: 0 },
    ]);
    expect(trace.operation(3, 2).index).toBe(0);
  });

  test('two processes share it out without leaving anything to neither', async () => {
    const path = await file(
      'b.csv',
      Array.from({ length: 7 }, (_, i) => `${i},k${i},2,0,1,get,0`).join('\n'),
    );
    const trace = await readTrace(path);
    const seen = [0, 1].flatMap((process) => {
      const [stream] = traceStreams(trace, { ...OPTIONS, process, processes: 2 });
      return Array.from({ length: 7 }, () => stream?.next(0).index);
    });
    expect(new Set(seen).size).toBe(7);
  });

  test('a file that is too long is cut, and says so', async () => {
    const path = await file('c.csv', '0,a,1,0,1,get,0\n1,b,1,0,1,get,0\n2,c,1,0,1,get,0\n');
    expect(await readTrace(path, 2)).toMatchObject({ length: 2, truncated: true });
  });

  test.each([
    ['0,a,1,0,1,get', /:1: expected 7 columns/],
    ['0,a,1,0,1,steal,0', /:1: unknown operation "steal"/],
    ['0,a,1,x,1,get,0', /:1: value size/],
    ['', /no requests/],
  ])('a bad line is named: %s', async (text, message) => {
    const path = await file('bad.csv', text);
    await expect(readTrace(path)).rejects.toThrow(TraceFormatError);
    await expect(readTrace(path)).rejects.toThrow(message);
  });
});

const OPTIONS = {
  products: 100,
  seed: 5,
  readsPerSecond: 1000,
  writesPerSecond: 100,
  processes: 2,
  process: 0,
  life: 0,
};

describe('the workload', () => {
  test('each process gets its share of both rates', () => {
    expect(mixStreams(CATALOGUE_MIX, OPTIONS).map((stream) => stream.ratePerSecond)).toEqual([500, 50]);
    expect(mixStreams(CATALOGUE_MIX, { ...OPTIONS, writesPerSecond: 0 })).toHaveLength(1);
    expect(mixStreams(CATALOGUE_MIX, { ...OPTIONS, readsPerSecond: 0, writesPerSecond: 0 })).toEqual([]);
  });

  test('popularity and sale are the same in all processes, the draws are not', () => {
    const draw = (process: number) => {
      const [reads] = mixStreams(CATALOGUE_MIX, { ...OPTIONS, process });
      return Array.from({ length: 4000 }, () => reads?.next(0).index ?? -1);
    };
    const top = (indexes: number[]) => {
      const counts = new Map<number, number>();
      for (const index of indexes) counts.set(index, (counts.get(index) ?? 0) + 1);
      return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0];
    };
    const [first, second] = [draw(0), draw(1)];
    expect(first).not.toEqual(second);
    expect(top(first)).toBe(top(second));
    const sale = (process: number) => {
      const mix = { ...CATALOGUE_MIX, saleShare: { reads: 1, writes: 1 } };
      return mixStreams(mix, { ...OPTIONS, process }).map((stream) => stream.next(10_000).index);
    };
    expect(new Set([...sale(0), ...sale(1)]).size).toBe(1);
  });

  test('sizes and times to live come with the writes of a mix', () => {
    const mix = parseMixes(TABLE).get('cluster37');
    const [reads, writes] = mix === undefined ? [] : mixStreams(mix, OPTIONS);
    expect(writes?.next(0)).toMatchObject({ kind: 'put', valueBytes: 20_134 });
    expect([20_000, 300_000, 7_200_000, 600_000]).toContain(writes?.next(0).ttlMs);
    expect(reads?.next(0)).toMatchObject({ kind: 'read', valueBytes: 0 });
  });
});
