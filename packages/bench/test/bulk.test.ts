import { expect, test } from 'vitest';
import { runBulk, STATEMENTS } from '../src/bulk.js';

test('the suite of bulk statements has every case, and each change is recorded', async () => {
  const result = await runBulk({ rows: 250, turns: 1 }, () => undefined);
  expect(Object.keys(result.statements)).toEqual(STATEMENTS);
  for (const { ms, ratio } of Object.values(result.statements)) {
    for (const figure of [...Object.values(ms), ...Object.values(ratio)]) expect(figure).toBeGreaterThan(0);
  }
  expect(result.lost).toBe(0);
});
