import { expect, test } from 'vitest';
import { runNear } from '../src/near.js';

test('the suite of near entries has every case, and reads what was written', async () => {
  const result = await runNear({ turns: 1, readers: [1, 16], turnMs: 30 }, () => undefined);
  for (const rates of [result.ours, result.peers.bentocache, result.limit, result.ratio]) {
    expect(Object.keys(rates)).toEqual(['1', '16']);
    for (const rate of Object.values(rates)) expect(rate).toBeGreaterThan(0);
  }
  expect(result.nearShare).toBeGreaterThan(0.5);
});
