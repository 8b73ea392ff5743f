import type { CacheHit, Payload } from '@lockstep/core';
import { expectEqual } from '../kit/expect.js';
import { type CacheCase, LONG_MS, run } from './context.js';

/** Rules 1 to 4: reservations, puts, invalidations, floors. */
export function writeCases(test: CacheCase): void {
  test('rule 1: a reservation on an empty key knows nothing, and readers still miss', async (c) => {
    const key = c.key();
    expectEqual(await c.reserve(key, c.token()), 0, 'the version known of an empty key');
    await c.expectMiss(key);
  });

  test('rule 1: a reservation on a value leaves the value readable and says its version', async (c) => {
    const key = c.key();
    await c.setValue(key, 10);
    expectEqual(await c.reserve(key, c.token()), 10, 'the version known of a value');
    await c.expectHit(key, 10);
  });

  test('rule 1: a value keeps no reservation for the hole that it becomes', async (c) => {
    const [key, token] = [c.key(), c.token()];
    await c.setValue(key, 10);
    await c.reserve(key, token);
    await c.invalidate(key, 20);
    expectEqual(await c.put(key, 30, token), 'floored', 'a put whose reservation was made on a value');
    await c.expectMiss(key);
  });

  test('rule 1: a reservation on a hole says its floor and lets its own put become the value', async (c) => {
    const [key, token] = [c.key(), c.token()];
    await c.setHole(key, 10);
    expectEqual(await c.reserve(key, token), 10, 'the version known of a hole');
    expectEqual(await c.put(key, 12, token), 'stored', 'a reserved put above the floor');
    await c.expectHit(key, 12);
  });

  test('rule 1: of two reservations the later one stands', async (c) => {
    const [key, first, second] = [c.key(), c.token(), c.token()];
    await c.reserve(key, first);
    await c.reserve(key, second);
    expectEqual(await c.put(key, 10, first), 'floored', 'the put whose reservation was replaced');
    await c.expectMiss(key);
    expectEqual(await c.put(key, 12, second), 'stored', 'the put whose reservation stands');
    await c.expectHit(key, 12);
  });

  test('rule 2: a put beats a lower value (G2)', async (c) => {
    const key = c.key();
    await c.setValue(key, 10);
    expectEqual(await c.put(key, 12), 'stored', 'a put above the value');
    await c.expectHit(key, 12);
  });

  test('rule 2: a put below the value is superseded and changes nothing (G3)', async (c) => {
    const [key, token] = [c.key(), c.token()];
    await c.setValue(key, 10);
    await c.reserve(key, token);
    expectEqual(await c.put(key, 8, token), 'superseded', 'a put below the value');
    await c.expectHit(key, 10);
  });

  test('rule 2: a repeated put is stored again', async (c) => {
    const key = c.key();
    await c.setValue(key, 10);
    expectEqual(await c.put(key, 10), 'stored', 'the same put, twice');
    await c.expectHit(key, 10);
  });

  test('rule 2: a put without a token on a hole raises the floor and is not readable (G3)', async (c) => {
    const key = c.key();
    await c.setHole(key, 10);
    expectEqual(await c.put(key, 20), 'floored', 'a put without a token on a hole');
    await c.expectMiss(key);
    await c.expectFloor(key, 20);
  });

  test("rule 2: a put with another writer's token on a hole raises the floor (G3)", async (c) => {
    const [key, token] = [c.key(), c.token()];
    await c.setHole(key, 10);
    await c.reserve(key, token);
    expectEqual(await c.put(key, 20, c.token()), 'floored', 'a put with a token that is not noted');
    await c.expectMiss(key);
    expectEqual(await c.put(key, 30, token), 'stored', 'the put whose token is still noted');
    await c.expectHit(key, 30);
  });

  test('rule 2: a reserved put below the floor is refused, at the floor it is stored (G3)', async (c) => {
    const [low, high, below, at] = [c.key(), c.key(), c.token(), c.token()];
    await c.reserve(low, below);
    await c.invalidate(low, 20);
    expectEqual(await c.put(low, 18, below), 'floored', 'a reserved put below the floor');
    await c.expectMiss(low);
    await c.expectFloor(low, 20);
    await c.reserve(high, at);
    await c.invalidate(high, 20);
    expectEqual(await c.put(high, 20, at), 'stored', 'a reserved put at the floor');
    await c.expectHit(high, 20);
  });

  test('rule 2: a put on an empty key leaves a hole with its floor, even with a token (G3)', async (c) => {
    const [key, other] = [c.key(), c.key()];
    expectEqual(await c.put(key, 20), 'floored', 'a put on an empty key');
    await c.expectMiss(key);
    await c.expectFloor(key, 20);
    expectEqual(await c.put(other, 20, c.token()), 'floored', 'a put with a token on an empty key');
    await c.expectMiss(other);
  });

  test('rule 2: a reservation serves one put', async (c) => {
    const [key, token] = [c.key(), c.token()];
    await c.reserve(key, token);
    await c.invalidate(key, 30);
    expectEqual(await c.put(key, 20, token), 'floored', 'the put below the floor');
    expectEqual(await c.put(key, 40, token), 'floored', 'a second put with the same token');
    await c.expectMiss(key);
  });

  test('rule 2: puts that arrive in any order leave the highest version (G3)', async (c) => {
    const key = c.key();
    await c.setValue(key, 2);
    for (const version of [30, 10, 50, 20, 40, 50, 30]) await c.put(key, version);
    await c.expectHit(key, 50);
  });

  test('rule 2: a deletion is an absent value that lower puts do not beat (G3)', async (c) => {
    const key = c.key();
    await c.setValue(key, 10);
    expectEqual(await c.put(key, 20, undefined, null), 'stored', 'the put of a deletion');
    await c.expectHit(key, 20, null);
    expectEqual(await c.put(key, 18), 'superseded', 'a put below the deletion');
    await c.expectHit(key, 20, null);
    expectEqual(await c.put(key, 22), 'stored', 'a re-creation above the deletion');
    await c.expectHit(key, 22);
  });

  test('rule 2: a put of unknown version turns a value into a hole that keeps its floor', async (c) => {
    const key = c.key();
    await c.setValue(key, 10);
    expectEqual(await c.put(key, 0, c.token()), 'floored', 'a put without version on a value');
    await c.expectMiss(key);
    await c.expectFloor(key, 10);
  });

  test('rule 3: an invalidation above the value makes a hole with its floor, never a bare delete (G2, G3)', async (c) => {
    const key = c.key();
    await c.setValue(key, 10);
    expectEqual(await c.invalidate(key, 20), 'floored', 'an invalidation above the value');
    await c.expectMiss(key);
    expectEqual(await c.put(key, 12), 'floored', 'a late put below the floor');
    await c.expectMiss(key);
    await c.expectFloor(key, 20);
  });

  test('rule 3: an invalidation at or below the value does nothing, however often', async (c) => {
    const key = c.key();
    await c.setValue(key, 10);
    for (const version of [10, 8, 10]) {
      expectEqual(
        await c.invalidate(key, version),
        'nothing',
        `an invalidation at ${version} of the value 10`,
      );
    }
    await c.expectHit(key, 10);
  });

  test("rule 3: an invalidation raises a hole's floor, and a lower one leaves it", async (c) => {
    const key = c.key();
    await c.setHole(key, 10);
    expectEqual(await c.invalidate(key, 20), 'floored', 'an invalidation above the floor');
    expectEqual(await c.invalidate(key, 15), 'nothing', 'an invalidation below the floor');
    await c.expectFloor(key, 20);
  });

  test('rule 3: an invalidation of an empty key does nothing, unless a hole is asked for', async (c) => {
    const [plain, wanted] = [c.key(), c.key()];
    expectEqual(await c.invalidate(plain, 20), 'nothing', 'an invalidation of an empty key');
    await c.expectFloor(plain, 0);
    expectEqual(await c.invalidate(wanted, 20, true), 'floored', 'an invalidation with holeOnEmpty');
    await c.expectFloor(wanted, 20);
  });

  test('rule 3: an invalidation of unknown version makes any value unreadable', async (c) => {
    const [key, token] = [c.key(), c.token()];
    await c.setValue(key, 10);
    expectEqual(await c.invalidate(key, 0), 'floored', 'an invalidation of unknown version');
    await c.expectMiss(key);
    await c.lease(key, token);
    expectEqual(await c.invalidate(key, 0), 'floored', 'another one, on the hole');
    expectEqual((await c.fill(key, token, 12)).outcome, 'lost', 'the fill of a load from before it');
    await c.expectFloor(key, 10);
  });

  test('rule 4: a raised floor keeps the reservation', async (c) => {
    const [key, token] = [c.key(), c.token()];
    await c.reserve(key, token);
    await c.invalidate(key, 20);
    await c.put(key, 22);
    expectEqual(await c.put(key, 30, token), 'stored', 'a reserved put after the floor rose twice');
    await c.expectHit(key, 30);
  });

  test('rule 4: an invalidation that raises the floor ends the lease (G2)', async (c) => {
    const [key, token] = [c.key(), c.token()];
    await c.setHole(key, 10);
    await c.lease(key, token);
    await c.invalidate(key, 20);
    expectEqual(
      await c.fill(key, token, 30),
      { kind: 'fill', outcome: 'lost' },
      'a fill after the floor rose',
    );
    await c.expectMiss(key);
  });

  test('rule 4: a put that raises the floor ends the lease (G2)', async (c) => {
    const [key, token] = [c.key(), c.token()];
    await c.lease(key, token);
    expectEqual(await c.put(key, 20), 'floored', 'a put without a token on a leased key');
    expectEqual(
      await c.fill(key, token, 30),
      { kind: 'fill', outcome: 'lost' },
      'a fill after the floor rose',
    );
    await c.expectMiss(key);
  });

  test('rule 4: an invalidation that does not raise the floor leaves the lease', async (c) => {
    const [key, token] = [c.key(), c.token()];
    await c.setHole(key, 20);
    await c.lease(key, token);
    expectEqual(await c.invalidate(key, 20), 'nothing', 'an invalidation at the floor');
    expectEqual(await c.fill(key, token, 20), { kind: 'fill', outcome: 'filled' }, 'the fill');
  });

  test('rule 4: an invalidation ends the known absence (G2)', async (c) => {
    const [key, token] = [c.key(), c.token()];
    await c.lease(key, token);
    await c.fill(key, token, 0, null);
    await c.expectHit(key, 0, null);
    expectEqual(await c.invalidate(key, 20), 'floored', 'an invalidation of a known absence');
    await c.expectMiss(key);
    await c.expectFloor(key, 20);
  });

  test('rule 4: a put that raises the floor ends the known absence, and does not become the value (G3)', async (c) => {
    const [key, token] = [c.key(), c.token()];
    await c.lease(key, token);
    await c.fill(key, token, 0, null);
    expectEqual(await c.put(key, 20), 'floored', 'a late put on a known absence');
    await c.expectMiss(key);
    await c.expectFloor(key, 20);
  });

  test('refresh: replaces a value of the same or a lower version only', async (c) => {
    const [key, hole, empty] = [c.key(), c.key(), c.key()];
    await c.setValue(key, 10, 'old');
    expectEqual(await c.refresh(key, 10, 'again'), 'stored', 'a refresh at the same version');
    await c.expectHit(key, 10, 'again');
    expectEqual(await c.refresh(key, 12, 'new'), 'stored', 'a refresh above');
    expectEqual(await c.refresh(key, 10, 'late'), 'refused', 'a refresh below');
    await c.expectHit(key, 12, 'new');
    await c.setHole(hole, 10);
    expectEqual(await c.refresh(hole, 20), 'refused', 'a refresh of a hole');
    expectEqual(await c.refresh(empty, 20), 'refused', 'a refresh of an empty key');
    await c.expectMiss(hole);
    await c.expectMiss(empty);
  });

  test('refresh: with `unchanged` it replaces exactly that value (G3)', async (c) => {
    const key = c.key();
    const refresh = { kind: 'refresh', key, version: 0, ttlMs: LONG_MS, staleAtMs: 7 } as const;
    const outcomeOf = async (payload: Payload, unchanged: CacheHit) =>
      (await run(c.cache, { ...refresh, payload, unchanged })).outcome;
    for (const payload of ['first', Uint8Array.of(0, 0xff, 0x80)]) {
      const encoding = typeof payload === 'string' ? 'utf8' : 'binary';
      const token = c.token();
      await c.intend(key, token);
      expectEqual(await c.put(key, 0, token, payload), 'stored', 'a put without a version');
      const before = { version: 0, payload, staleAtMs: 0 };
      expectEqual(await outcomeOf('x', { ...before, payload: 'second' }), 'refused', 'another payload');
      expectEqual(await outcomeOf('x', { ...before, payload: null }), 'refused', 'an absence');
      expectEqual(await outcomeOf('x', { ...before, staleAtMs: 1 }), 'refused', 'another time to be stale');
      expectEqual(await outcomeOf(payload, before), 'stored', 'what is there');
      expectEqual((await c.hit(key, encoding))?.staleAtMs, 7, 'the time of what replaced it');
      expectEqual(await outcomeOf('x', before), 'refused', 'what was there before');
      expectEqual(await outcomeOf('new', { ...before, staleAtMs: 7 }), 'stored', 'what is there since');
      await c.expectHit(key, 0, 'new');
    }
  });
}
