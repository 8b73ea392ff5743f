import { expect, test } from 'vitest';
import { runGrowth } from '../src/fleet/growth.js';
import { runIdle } from '../src/fleet/idle.js';

// Small runs on real servers and real processes: every figure is there and is a number. Never a time.

test('an idle worker is measured', async () => {
  const { settings, ...figures } = await runIdle({ ms: 500 }, () => undefined);
  expect(settings).toMatchObject({ products: 1_000 });
  expect(Object.keys(figures)).toEqual([
    ...['processorMs', 'cacheCommands', 'queueCommands', 'statements', 'rss', 'heap'],
  ]);
  for (const [name, figure] of Object.entries(figures)) expect(figure, name).toBeGreaterThanOrEqual(0);
  // The counts count: a worker asks the queue for jobs, and polls its feed.
  expect(figures.statements).toBeGreaterThan(0);
  expect(figures.queueCommands).toBeGreaterThan(0);
  expect(figures.cacheCommands).toBeGreaterThan(0);
});

test('growth is sampled, and no call fails', async () => {
  const options = { minutes: 0.02, sampleMs: 400, perSecond: 200, products: 500 };
  const { calls, failures, perHour, samples } = await runGrowth(options, () => undefined);
  expect(samples).toHaveLength(4);
  expect(calls).toBeGreaterThan(0);
  expect(failures).toBe(0);
  for (const { held } of samples) {
    expect(Object.keys(held)).toEqual(Object.keys(perHour));
    for (const [name, figure] of Object.entries(held)) expect(figure, name).toBeGreaterThanOrEqual(0);
  }
  for (const [name, figure] of Object.entries(perHour)) expect(figure, name).not.toBeNaN();
  expect(samples.at(-1)?.held['cache: keys']).toBeGreaterThan(0);
});
