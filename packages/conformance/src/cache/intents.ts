import { expectEqual } from '../kit/expect.js';
import type { CacheCase, CacheContext } from './context.js';

/** Short enough to wait for, in ms. */
const SHORT_MS = 150;

/** Resolves once every intent noted before this call with a deadline of `SHORT_MS` has run out. */
async function intentsRanOut(c: CacheContext): Promise<void> {
  const probe = c.key();
  await c.intend(probe, c.token(), SHORT_MS);
  await c.eventually(
    'an intent runs out',
    async () => (await c.lease(probe, c.token())).outcome === 'granted',
  );
}

/** Rule 7: strict and unversioned writers. */
export function intentCases(test: CacheCase): void {
  test('rule 7: an intent turns a value into a hole and says its version (G7)', async (c) => {
    const key = c.key();
    await c.setValue(key, 10);
    expectEqual(await c.intend(key, c.token()), 10, 'the version that an intent learns');
    await c.expectMiss(key);
  });

  test('rule 7: readers pass by while an intent stands, and fill nothing (G7)', async (c) => {
    const [key, reader] = [c.key(), c.token()];
    await c.setHole(key, 10);
    await c.lease(key, reader);
    await c.intend(key, c.token());
    expectEqual(
      await c.fill(key, reader, 20),
      { kind: 'fill', outcome: 'lost' },
      'the fill of an earlier lease',
    );
    expectEqual(
      await c.lease(key, c.token()),
      { kind: 'lease', outcome: 'pass', floor: 10 },
      'a lease while an intent stands',
    );
    await c.expectMiss(key);
  });

  test('rule 7: an intent ends the known absence (G7)', async (c) => {
    const [key, reader] = [c.key(), c.token()];
    await c.lease(key, reader);
    await c.fill(key, reader, 0, null);
    await c.intend(key, c.token());
    await c.expectMiss(key);
  });

  test('rule 7: the put of the only intent becomes the value (G7)', async (c) => {
    const [key, token] = [c.key(), c.token()];
    await c.setValue(key, 10);
    await c.intend(key, token);
    expectEqual(await c.put(key, 12, token), 'stored', 'the put of the only intent');
    await c.expectHit(key, 12);
  });

  test('rule 7: of two intents only the last put becomes the value (G7)', async (c) => {
    const [key, first, second] = [c.key(), c.token(), c.token()];
    await c.intend(key, first);
    await c.intend(key, second);
    expectEqual(await c.put(key, 10, first), 'floored', 'a put while another intent stands');
    await c.expectMiss(key);
    expectEqual((await c.lease(key, c.token())).outcome, 'pass', 'a lease while the other intent stands');
    expectEqual(await c.put(key, 12, second), 'stored', 'the put of the last intent');
    await c.expectHit(key, 12);
  });

  test('rule 7: the last put of two does not become the value below the floor of the first (G3)', async (c) => {
    const [key, first, second] = [c.key(), c.token(), c.token()];
    await c.intend(key, first);
    await c.intend(key, second);
    await c.put(key, 20, first);
    expectEqual(await c.put(key, 18, second), 'floored', 'the last put, below the floor');
    await c.expectFloor(key, 20);
  });

  test('rule 7: a put without an intent raises the floor, and the intents stay', async (c) => {
    const [key, token] = [c.key(), c.token()];
    await c.intend(key, token);
    expectEqual(await c.put(key, 20), 'floored', 'a put without a token');
    expectEqual((await c.lease(key, c.token())).outcome, 'pass', 'a lease after it');
    expectEqual(await c.put(key, 22, token), 'stored', "the intent's own put");
  });

  test('rule 7: a reservation does not stand in for an intent while others stand', async (c) => {
    const [key, strict, plain] = [c.key(), c.token(), c.token()];
    await c.intend(key, strict);
    await c.reserve(key, plain);
    expectEqual(await c.put(key, 20, plain), 'floored', 'a reserved put while an intent stands');
    await c.expectMiss(key);
  });

  test('rule 7: an invalidation keeps the intents', async (c) => {
    const [key, token] = [c.key(), c.token()];
    await c.intend(key, token);
    await c.invalidate(key, 20);
    expectEqual((await c.lease(key, c.token())).outcome, 'pass', 'a lease after the invalidation');
    expectEqual(await c.put(key, 22, token), 'stored', 'the put of the intent');
  });

  test('rule 7: a released intent is gone', async (c) => {
    const [key, token] = [c.key(), c.token()];
    await c.intend(key, token);
    await c.release(key, token);
    expectEqual((await c.lease(key, c.token())).outcome, 'granted', 'a lease after the release');
  });

  test('rule 7: once the last intent has run out, readers fill again', async (c) => {
    const [key, reader] = [c.key(), c.token()];
    await c.setValue(key, 10);
    await c.intend(key, c.token(), SHORT_MS);
    await c.eventually('a lease is granted after the intent ran out', async () => {
      return (await c.lease(key, reader)).outcome === 'granted';
    });
    expectEqual(await c.fill(key, reader, 12), { kind: 'fill', outcome: 'filled' }, 'the fill');
    await c.expectHit(key, 12);
  });

  test('rule 7: an intent that ran out beside another one still keeps its put from becoming the value (G7)', async (c) => {
    const [key, dead, alive] = [c.key(), c.token(), c.token()];
    await c.intend(key, dead, SHORT_MS);
    await c.intend(key, alive);
    await intentsRanOut(c);
    expectEqual((await c.lease(key, c.token())).outcome, 'pass', 'a lease while the other intent stands');
    expectEqual(await c.put(key, 12, alive), 'floored', 'the put beside an intent that ran out');
    await c.expectMiss(key);
  });

  test('rule 7: who gets the lease behind an intent that ran out is told so, until the key holds a value (G7)', async (c) => {
    const [key, first, second] = [c.key(), c.token(), c.token()];
    const behind = { kind: 'lease', outcome: 'granted', floor: 10, behind: true };
    await c.setValue(key, 10);
    await c.intend(key, c.token(), SHORT_MS);
    await intentsRanOut(c);
    expectEqual(await c.lease(key, first), behind, 'a lease behind an intent that ran out');
    await c.release(key, first);
    expectEqual(await c.lease(key, second), behind, 'the next lease, after one that filled nothing');
    await c.fill(key, second, 12);
    await c.invalidate(key, 14);
    expectEqual(
      await c.lease(key, c.token()),
      { kind: 'lease', outcome: 'granted', floor: 14 },
      'a lease after the key held a value',
    );
  });

  test('rule 7: a known absence that was filled behind an intent that ran out ends the mark, too', async (c) => {
    const [key, reader] = [c.key(), c.token()];
    await c.intend(key, c.token(), SHORT_MS);
    await intentsRanOut(c);
    await c.lease(key, reader);
    await c.fill(key, reader, 0, null);
    await c.invalidate(key, 14);
    expectEqual(
      await c.lease(key, c.token()),
      { kind: 'lease', outcome: 'granted', floor: 14 },
      'a lease after the absence',
    );
  });

  test('rule 7: a later intent that is released leaves the mark of one that ran out, and its put ends it', async (c) => {
    const [key, later, last] = [c.key(), c.token(), c.token()];
    const behind = { kind: 'lease', outcome: 'granted', floor: 0, behind: true };
    await c.intend(key, c.token(), SHORT_MS);
    await intentsRanOut(c);
    await c.intend(key, later);
    await c.release(key, later);
    expectEqual(await c.lease(key, c.token()), behind, 'a lease after the release');
    await c.intend(key, last);
    expectEqual(await c.put(key, 12, last), 'stored', 'the put of a later intent');
    await c.expectHit(key, 12);
  });

  test('rule 7: a put without a token leaves the mark of an intent that ran out', async (c) => {
    const key = c.key();
    await c.intend(key, c.token(), SHORT_MS);
    await intentsRanOut(c);
    await c.lease(key, c.token());
    await c.put(key, 12);
    const reply = await c.lease(key, c.token());
    expectEqual(
      reply,
      { kind: 'lease', outcome: 'granted', floor: 12, behind: true },
      'a lease after the put',
    );
  });

  test('rule 7, unversioned: the put of an intent that nothing overlapped becomes the value', async (c) => {
    const [key, token] = [c.key(), c.token()];
    await c.intend(key, token);
    expectEqual(await c.put(key, 0, token, 'plain'), 'stored', 'the put');
    await c.expectHit(key, 0, 'plain');
  });

  test('rule 7, unversioned: overlapping writes leave a hole until all are over', async (c) => {
    const [key, first, second] = [c.key(), c.token(), c.token()];
    await c.intend(key, first);
    await c.intend(key, second);
    expectEqual(await c.put(key, 0, first, 'a'), 'floored', 'the first put of two');
    expectEqual((await c.lease(key, c.token())).outcome, 'pass', 'a lease before the second is over');
    expectEqual(await c.put(key, 0, second, 'b'), 'floored', 'the last put of two');
    await c.expectMiss(key);
    expectEqual((await c.lease(key, c.token())).outcome, 'granted', 'a lease after both');
  });

  test('rule 7, unversioned: an invalidation meanwhile counts as an overlapping write', async (c) => {
    const [key, token] = [c.key(), c.token()];
    await c.intend(key, token);
    await c.invalidate(key, 0);
    expectEqual(await c.put(key, 0, token, 'plain'), 'floored', 'the put');
    await c.expectMiss(key);
  });

  test('rule 7, unversioned: a put whose intent the cache never heard counts as an overlapping write', async (c) => {
    const [key, token] = [c.key(), c.token()];
    await c.intend(key, token);
    expectEqual(await c.put(key, 0, c.token(), 'unheard'), 'floored', 'a put without an intent');
    expectEqual(await c.put(key, 0, token, 'plain'), 'floored', 'the put beside it');
    await c.expectMiss(key);
  });

  test('rule 7, unversioned: a put without an intent makes everything unreadable', async (c) => {
    const [key, token] = [c.key(), c.token()];
    await c.intend(key, token);
    await c.put(key, 0, token, 'plain');
    expectEqual(await c.put(key, 0, undefined, 'late'), 'floored', 'a put without a token');
    await c.expectMiss(key);
  });
}
