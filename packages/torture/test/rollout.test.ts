import { expect, test } from 'vitest';
import { CHANGES, type ChangeName } from '../src/rollout/changes.js';
import type { RolloutResult, RolloutSettings } from '../src/rollout/settings.js';

/** Real servers and several applications, on a machine that may be busy. */
const LONG_MS = 300_000;

// Its applications are threads that load the built modules.
const { runRollout } = (await import('../dist/rollout/run.js')) as {
  runRollout(settings: RolloutSettings): Promise<RolloutResult>;
};

const settings = { control: undefined, serializer: 'json', seed: 1, calls: 60 } as const;

test.each(Object.keys(CHANGES) as ChangeName[])(
  '%s: two releases side by side, forwards and back, lose nothing and read nothing old',
  async (change) => {
    const { calls, problems } = await runRollout({ ...settings, change });
    expect(problems).toEqual([]);
    expect(calls).toBeGreaterThan(500);
  },
  LONG_MS,
);

test(
  'with MessagePack, too',
  async () => {
    const { problems } = await runRollout({ ...settings, change: 'add-column', serializer: 'msgpack' });
    expect(problems).toEqual([]);
  },
  LONG_MS,
);

test.each([
  ['no-shapes', /plan is undefined/],
  ['whole-rows', /has lost plan|is marked 0, acknowledged was/],
] as const)(
  'a missing rule is found: %s',
  async (control, found) => {
    const { problems } = await runRollout({ ...settings, change: 'add-column', control });
    expect(problems.join('\n')).toMatch(found);
  },
  LONG_MS,
);
