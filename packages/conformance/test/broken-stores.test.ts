import { describe, expect, test } from 'vitest';
import { storeConformance } from '../src/index.js';
import { BROKEN_STORES, HOOKS, underTest } from './support/broken-stores.js';
import { collect, HASTE } from './support/collect.js';

describe('the store kit fails a store in which', () => {
  test.concurrent.each(BROKEN_STORES)('$flaw', { timeout: 60_000 }, async ({ noticedBy, create }) => {
    const { failures } = await collect((runner) =>
      storeConformance({ ...runner, ...HASTE, hooks: HOOKS, create }),
    );
    const names = [...failures.keys()];
    for (const start of noticedBy) {
      expect(names, `failing cases must include "${start}…"`).toContainEqual(expect.stringContaining(start));
    }
  });

  test('a capability is claimed that is not tested', async () => {
    const { failures } = await collect((runner) =>
      storeConformance({ ...runner, hooks: HOOKS, requires: { flush: false }, create: () => underTest() }),
    );
    expect([...failures.values()]).toEqual([expect.stringContaining('capabilities.flush')]);
  });

  test('nothing at all is broken: every case passes', async () => {
    const { names, failures } = await collect((runner) =>
      storeConformance({ ...runner, hooks: HOOKS, create: () => underTest() }),
    );
    expect(failures).toEqual(new Map());
    expect(names.length).toBeGreaterThan(45);
  });
});
