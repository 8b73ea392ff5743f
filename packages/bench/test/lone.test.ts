import { expect, test } from 'vitest';
import { PARTS, runLone } from '../src/lone.js';

test('a small run of one writer: every part of a put is told, of both sides', async () => {
  const { ours, theirs, ratio } = await runLone({ calls: 20, products: 100 });
  for (const side of [ours, theirs]) {
    expect(Object.keys(side)).toEqual([...PARTS, 'all']);
    for (const [part, us] of Object.entries(side)) expect(us, part).toBeGreaterThanOrEqual(0);
  }
  expect(ratio).toBeGreaterThan(0);
});
