import { applyCommand, type CacheCommand, type Entry } from '@lockstep/core';
import { type RedisService, startRedis } from '@lockstep/dev-services';
import fc from 'fast-check';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { redisCache } from '../src/index.js';
import { LONG_MS, newKey } from './support/entries.js';

let service: RedisService;
let raw: Redis;
beforeAll(async () => {
  service = await startRedis();
  raw = new Redis(service.url);
}, 120_000);
afterAll(async () => {
  raw.disconnect();
  await service.stop();
});

/** `evict`: the key goes, as the server's policy would have it. */
type Step = CacheCommand | { readonly kind: 'evict'; readonly key: string };

const key = fc.constant('');
// Tokens that would mislead who looks for the ends of tokens, and two that are equal but for their length.
const token = fc.constantFrom('a', 'aa', 'L1:a', '1:0', 'ß😀');
const version = fc.constantFrom(0, 2, 4, 6, Number.MAX_SAFE_INTEGER);
const row = fc.constantFrom('x', 'R1:a', '', null);
const times = { holeTtlMs: fc.constant(LONG_MS), ttlMs: fc.constant(LONG_MS), staleAtMs: fc.constant(0) };
const steps: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('reserve'), key, token, ...times }),
  fc.record({ kind: fc.constant('intend'), key, token, deadlineMs: fc.constantFrom(0, LONG_MS), ...times }),
  fc.record({
    kind: fc.constant('put'),
    key,
    token: fc.option(token, { nil: undefined }),
    version,
    payload: row,
    ...times,
  }),
  fc.record({ kind: fc.constant('refresh'), key, version, payload: fc.constant('fresh'), ...times }),
  fc.record({ kind: fc.constant('invalidate'), key, version, holeOnEmpty: fc.boolean(), ...times }),
  fc.record({
    kind: fc.constant('lease'),
    key,
    token,
    leaseMs: fc.constantFrom(0, LONG_MS),
    encoding: fc.constant('utf8'),
    ...times,
  }),
  fc.record({ kind: fc.constant('fill'), key, token, version, payload: row, ...times }),
  fc.record({ kind: fc.constant('release'), key, token }),
  fc.record({ kind: fc.constant('evict'), key }),
);

/** Such a value is as good as none, and either may stand for the other. */
const BEYOND = new RegExp(`^[VA]-${Number.MAX_SAFE_INTEGER}`);

function isBeyondBelief(entry: Entry): boolean {
  return entry?.kind === 'value' && entry.version === Number.MAX_SAFE_INTEGER;
}

/**
 * A row over a row. The reference takes the first for evicted, and closes the key; the script asks no clock here. Both
 * ways no reader gets either of the two.
 */
function overwritesBeyondBelief(held: string | null, command: CacheCommand): boolean {
  const isPut = command.kind === 'put' && command.version === Number.MAX_SAFE_INTEGER;
  return isPut && (held ?? '').startsWith(`V-${Number.MAX_SAFE_INTEGER}`);
}

/** The reference's entry as the format has it, times left out: two clocks made them. */
function expectedText(entry: Entry): string | null {
  if (entry === undefined || entry.kind === 'foreign' || isBeyondBelief(entry)) return null;
  const digits = (version: number): string => String(version).padStart(16, '0');
  const zeros = '0'.repeat(13);
  if (entry.kind === 'value') {
    return `${entry.payload === null ? 'A' : 'V'}-${digits(entry.version)}${zeros}${entry.payload ?? ''}`;
  }
  const noted = (tag: string, own: string): string => `${tag}${Buffer.byteLength(own)}:${own}`;
  const lease = entry.lease === undefined ? '' : `${noted('L', entry.lease.token)}<time>`;
  const reservation = entry.reservation === undefined ? '' : noted('R', entry.reservation);
  const intents = entry.intents.map(
    (each) => `${noted('I', each.token)}${each.untilMs === 0 ? zeros : '<time>'}${each.overlapped ? 1 : 0}`,
  );
  const state = entry.knownAbsent ? 'K' : 'H';
  return `${state}-${digits(entry.floor)}${zeros}${lease}${reservation}${intents.join('')}`;
}

test('any sequence of commands leaves the very entry that the reference has (rules 1-7)', async () => {
  const cache = redisCache({ url: service.url });
  await cache.open?.();
  await fc.assert(
    fc.asyncProperty(fc.array(steps, { minLength: 1, maxLength: 20, size: 'max' }), async (sequence) => {
      const name = newKey();
      let entry: Entry;
      let held: string | null = null;
      // The clocks differ and need not agree: what runs out here does so at once, the rest never.
      for (const step of sequence) {
        if (step.kind === 'evict') {
          await raw.del(name);
          entry = undefined;
          held = null;
          continue;
        }
        const command = { ...step, key: name };
        const expected = applyCommand(entry, command, 1_000);
        const [reply] = await cache.execute([command]);
        if (overwritesBeyondBelief(held, command)) {
          expect(reply).toMatchObject({ outcome: 'stored' });
          entry = undefined;
        } else {
          entry = expected.entry;
          // The reference's hit is its entry, which says more.
          expect({ ...expected.reply, remainingMs: 0 }).toMatchObject({ ...reply, remainingMs: 0 });
        }
        held = await raw.get(name);
        const text = held !== null && BEYOND.test(held) ? null : held;
        expect(text?.replace(/(?<=.{31}.*)[1-9][0-9]{12}/gsu, '<time>') ?? null).toBe(expectedText(entry));
      }
    }),
    { numRuns: 200 },
  );
  await cache.close();
});

test('a hole outlives its intent by its own time to live: whoever comes after the intent sees that there was one', async () => {
  const cache = redisCache({ url: service.url });
  await cache.open?.();
  const name = newKey();
  await cache.execute([{ kind: 'intend', key: name, token: 'a', deadlineMs: 100_000, holeTtlMs: 100_000 }]);
  expect(await raw.pttl(name)).toBeGreaterThan(150_000);
  await cache.close();
});
