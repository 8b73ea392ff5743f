import { seededRandom } from '@lockstep/torture';
import { describe, expect, test } from 'vitest';
import { FAULT_NAMES, type FaultName, faultsOf, MONGO_FAULTS, REDIS_FAULTS } from '../src/faults/names.js';
import { planFaults } from '../src/faults/schedule.js';

describe('the plan of faults', () => {
  test.each([5_000, 30_000, 120_000])('has one of each kind, inside the run, for %d ms', (durationMs) => {
    for (let seed = 0; seed < 50; seed += 1) {
      const plan = planFaults(FAULT_NAMES, durationMs, seededRandom(seed));
      const names = new Set(plan.map(({ name }) => name));
      expect([...names].sort()).toEqual([
        'app-kill',
        'mongo-kill',
        'mongo-stepdown',
        'queue-kill',
        'redis-freeze',
        'redis-kill',
      ]);
      for (const { atMs, forMs } of plan) {
        expect(atMs).toBeGreaterThanOrEqual(durationMs * 0.1);
        expect(atMs + forMs).toBeLessThanOrEqual(durationMs * 0.76);
      }
    }
  });

  test.each([
    ['two parts of Redis', REDIS_FAULTS],
    ['two members of the replica set', MONGO_FAULTS],
  ] as const)('never breaks %s at once', (_, lane: readonly FaultName[]) => {
    for (let seed = 0; seed < 50; seed += 1) {
      const plan = planFaults(FAULT_NAMES, 60_000, seededRandom(seed)).filter(({ name }) =>
        lane.includes(name),
      );
      for (const [position, { atMs, forMs }] of plan.entries()) {
        const next = plan[position + 1];
        if (next !== undefined) expect(atMs + forMs).toBeLessThan(next.atMs);
      }
    }
  });

  test('without MongoDB is what it is with it, less the faults of the replica set', () => {
    const whole = planFaults(FAULT_NAMES, 60_000, seededRandom(5));
    const postgres = planFaults(faultsOf('postgres'), 60_000, seededRandom(5));
    expect(postgres).toEqual(whole.filter(({ name }) => !MONGO_FAULTS.some((one) => one === name)));
  });

  test('one seed gives one plan', () => {
    const plan = (seed: number) => planFaults(FAULT_NAMES, 60_000, seededRandom(seed));
    expect(plan(3)).toEqual(plan(3));
    expect(plan(3)).not.toEqual(plan(4));
  });

  test('kills with and without data, inside and outside of writes, in a longer run', () => {
    const plan = planFaults(['redis-kill', 'app-kill'], 60_000, seededRandom(1));
    for (const name of ['redis-kill', 'app-kill']) {
      const variants = plan.filter((fault) => fault.name === name).map(({ variant }) => variant);
      expect(new Set(variants)).toEqual(new Set([true, false]));
    }
  });
});
