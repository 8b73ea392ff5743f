import { describe, expect, test } from 'vitest';
import type { ChangeFeed } from '../../src/contracts/feed.js';
import { runConsumersWorld } from './consumers-world.js';
import { isFirst, skipReplay } from './registry-controls.js';
import { searchIn } from './search.js';

/** As in `histories.test.ts`. */
const RUNS = Number(process.env['LOCKSTEP_HISTORIES'] ?? 60);
const CONTROL_RUNS = 400;
const TIMEOUT_MS = 120_000 + RUNS * 100;

const CONTROLS: readonly { readonly name: string; readonly adapt: (feed: ChangeFeed) => ChangeFeed }[] = [
  {
    name: 'an acknowledgement of one cache counts for all',
    adapt: (feed) => ({ ...feed, acknowledge: (changes) => feed.acknowledge(changes) }),
  },
  {
    name: 'what the relay of one cache has taken is gone for all',
    adapt: (feed) => ({
      ...feed,
      consume: (handler, { claimant: _, ...options }) => feed.consume(handler, options),
    }),
  },
  {
    name: 'a cache that joins counts as replayed, whatever it holds',
    adapt: (feed) => ({
      ...feed,
      registry: {
        ...feed.registry,
        async observe(consumer, sources, identity) {
          const records = await feed.registry.observe(consumer, sources, identity);
          await skipReplay(feed.registry, records.filter(isFirst));
          return await feed.registry.read(consumer, sources);
        },
      },
    }),
  },
];

describe('histories of several caches of one table', { timeout: TIMEOUT_MS }, () => {
  test.for([
    { name: 'with faults and evictions', faults: 0.02 },
    { name: 'on a good network', faults: 0 },
  ])('G2 holds within each cache, and G5 in all, $name', async ({ faults }) => {
    expect(await searchIn((seed) => runConsumersWorld({ seed, faults }), RUNS)).toBeUndefined();
  });

  test.for(CONTROLS)('a missing rule is caught: $name', async ({ adapt }) => {
    // Some make a world that never comes to its end, which tells nothing.
    const run = (seed: number) => runConsumersWorld({ seed, adapt }).catch(() => []);
    expect(await searchIn(run, CONTROL_RUNS)).toBeDefined();
  });
});
