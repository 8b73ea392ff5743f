import { expect, test } from 'vitest';
import { breaksWithout, NEAR_CONTROLS, type NearControl } from '../src/near/controls.js';
import { runNear } from '../src/near/run.js';

const BOUND = { maxStaleMs: 200, seed: 7 };

test('near entries of rows and lists are never older than their bound, whatever becomes of channels and of Redis', async () => {
  const result = await runNear({ ...BOUND, reads: 50_000, nearListsAtLeast: 100 });
  expect(result.samples).toEqual([]);
  expect(result).toMatchObject({ stale: 0 });
  expect(result.nearReads).toBeGreaterThan(1_000);
});

test.each(Object.keys(NEAR_CONTROLS) as NearControl[])('a rule that is out is found: %s', async (control) => {
  const breaks = breaksWithout(control);
  const result = await runNear({ ...BOUND, reads: 50_000_000, control, breaks, untilStale: true });
  expect(result.stale).toBeGreaterThan(0);
  if (control === 'tags-untold') expect(result.samples[0]).toMatch(/^list .*near/);
});
