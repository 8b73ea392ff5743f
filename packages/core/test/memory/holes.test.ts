import { describe, expect, test } from 'vitest';
import type { CacheCommand } from '../../src/contracts/cache-commands.js';
import { NO_VERSION } from '../../src/contracts/version.js';
import { believed, type HoleEntry } from '../../src/protocol/entry.js';
import { applyCommand } from '../../src/protocol/transitions.js';

const NOW = Date.UTC(2030, 0, 1);
const DAY_MS = 24 * 3_600_000;
const CLOSED = Number.MAX_SAFE_INTEGER;
const HOLE: HoleEntry = {
  kind: 'hole',
  floor: NO_VERSION,
  knownAbsent: false,
  lease: undefined,
  reservation: undefined,
  intents: [],
  expiresAtMs: Number.POSITIVE_INFINITY,
};
const intent = (days: number) => ({ token: 'a', untilMs: NOW + days * DAY_MS, overlapped: true });
const LEASE: CacheCommand = {
  kind: 'lease',
  key: 'k',
  token: 'own',
  leaseMs: 1_000,
  holeTtlMs: 60_000,
  encoding: 'utf8',
};
const RESERVE: CacheCommand = { kind: 'reserve', key: 'k', token: 'own', holeTtlMs: 60_000 };

describe('the reference judges holes as the scripts of a cache do', () => {
  test.each([Number.POSITIVE_INFINITY, NOW + 5 * DAY_MS])(
    'a hole that expires at %s, too late, is cut by whoever meets it',
    (expiresAtMs) => {
      for (const command of [LEASE, RESERVE]) {
        const { entry } = applyCommand({ ...HOLE, floor: CLOSED, expiresAtMs }, command, NOW);
        expect(entry).toMatchObject({ floor: CLOSED, expiresAtMs: NOW + 60_000 });
      }
      const noted = { ...HOLE, intents: [intent(1)], expiresAtMs };
      const { entry, reply } = applyCommand(noted, LEASE, NOW);
      expect(reply).toMatchObject({ outcome: 'pass' });
      expect(entry).toMatchObject({ intents: [intent(1)], expiresAtMs: NOW + 4 * DAY_MS });
    },
  );

  test('one that a command may have made stays as it is', () => {
    const closed = { ...HOLE, floor: CLOSED, expiresAtMs: NOW + DAY_MS };
    expect(applyCommand(closed, LEASE, NOW).entry).toBe(closed);
    expect(believed({ ...HOLE, intents: [intent(4)] }, NOW)).toBeDefined();
  });

  test.each<[string, Partial<HoleEntry>]>([
    ['an intent', { intents: [intent(1), intent(5)] }],
    ['a lease', { lease: intent(5) }],
    ['an intent in a closed hole', { floor: CLOSED, intents: [intent(5)] }],
    ['a lease of a known absence', { knownAbsent: true, lease: intent(5) }],
  ])('%s that stands for too long: the hole counts as empty', (_, forged) => {
    const entry = { ...HOLE, ...forged };
    expect(believed(entry, NOW)).toBeUndefined();
    expect(applyCommand(entry, LEASE, NOW).reply).toEqual({ kind: 'lease', outcome: 'granted', floor: 0 });
  });
});
