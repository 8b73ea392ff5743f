import { expect, test } from 'vitest';
import { runPlans } from '../src/plans.js';

test('the suite of plans explains every statement, and none touches more than it needs', async () => {
  const result = await runPlans({ sizes: [500], feed: 2_000 }, () => undefined);
  expect(Object.keys(result.most).length).toBeGreaterThan(10);
  expect(result.explained).toBeGreaterThan(100);
  expect(result.excesses).toEqual([]);
});
