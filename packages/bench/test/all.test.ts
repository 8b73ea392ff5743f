import { expect, test } from 'vitest';
import { ALL, runAll } from '../src/all.js';

test('a small run of all suites: each in one form, every figure a number, and ours right in each', async () => {
  const small = { turns: 1, turnMs: 20, pool: 4, products: 100, peers: ['by hand', 'bentocache'] as const };
  const result = await runAll(
    {
      hits: { turns: 1, turnMs: 20 },
      near: { ...ALL.near, turns: 1, turnMs: 20, readers: [1] },
      writes: { ...ALL.writes, ...small, writers: [1] },
      contention: { ...ALL.contention, ...small, callers: [1], ways: ['update'] },
      plans: { sizes: [100], feed: 100 },
      relay: { ...ALL.relay, turns: 1, pool: 4, changes: 1_200 },
      bulk: { rows: 100, turns: 1 },
      stampede: { ...ALL.stampede, ...small, readers: 8 },
      mix: { ...ALL.mix, ...small, callers: 4, reads: [50], skews: [0.9] },
    },
    () => undefined,
  );
  expect(Object.keys(result)).toEqual([
    ...['reads', 'getMany', 'near', 'writes', 'contention', 'plans', 'relay', 'bulk', 'stampede', 'mix'],
  ]);
  for (const [suite, section] of Object.entries(result)) {
    expect(Object.keys(section), suite).toEqual(expect.arrayContaining(['ours', 'peers', 'limit', 'ratio']));
    const { limit, ours, peers, ratio } = section;
    const figures = [ours, ...[peers, limit, ratio].flatMap((side) => Object.values(side))];
    expect(Object.keys(ours), suite).not.toEqual([]);
    for (const each of figures) {
      for (const [name, figure] of Object.entries(each))
        expect(figure, `${suite}: ${name}`).toBeGreaterThanOrEqual(0);
    }
  }
  expect(result.plans.ours['beyond the limit']).toBe(0);
  expect(result.mix.ours['stale keys']).toBe(0);
  expect(result.stampede.ours['loads, 1 × 8 readers']).toBe(1);
});
