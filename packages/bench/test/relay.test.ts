import { expect, test } from 'vitest';
import { BACKLOGS, type Backlog, runRelay } from '../src/relay.js';

test('the suite of backlogs has every case, and nothing stays stale', async () => {
  const backlogs = Object.keys(BACKLOGS) as Backlog[];
  const result = await runRelay({ backlogs, changes: 2_400, turns: 1, pool: 4 }, () => undefined);
  expect(Object.keys(result.drains)).toEqual(backlogs);
  for (const { heldBytes, perSecond, processorUs, stale } of Object.values(result.drains)) {
    expect(perSecond).toBeGreaterThan(0);
    expect(processorUs['node']).toBeGreaterThan(0);
    expect(heldBytes).toHaveLength(4);
    expect(heldBytes.every(Number.isFinite)).toBe(true);
    expect(stale).toBe(0);
  }
});
