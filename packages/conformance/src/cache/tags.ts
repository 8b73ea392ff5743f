import type { CacheHit } from '@lockstep/core';
import { expectEqual, expectThat } from '../kit/expect.js';
import { type CacheCase, run } from './context.js';

/** Longer than any clock takes to show another time, in ms. */
const STEP_MS = 5;

/** Rule 9: tags. */
export function tagCases(test: CacheCase): void {
  test('rule 9: a tag keeps its token, which readers get with it', async (c) => {
    const [key, token] = [c.key(), c.token()];
    const made = await c.tag(key, token);
    expectThat(made?.startsWith(`${token}@`) === true, `the token must begin with ${token}@, got ${made}`);
    expectEqual(await c.tag(key, c.token()), made, 'the token that another reader is given');
    await c.expectHit(key, 0, made);
  });

  test('rule 9: an invalidation ends a tag, and no later one has its token: not that of the same command either', async (c) => {
    const [key, token] = [c.key(), c.token()];
    const made = await c.tag(key, token);
    expectEqual(await c.invalidate(key, 0), 'floored', 'an invalidation of a tag');
    await c.expectMiss(key);
    await c.pass(STEP_MS);
    const again = await c.tag(key, token);
    expectThat(again !== undefined && again !== made, `a command that came twice brought back ${made}`);
  });

  test('rule 9: a hole, and what is no token, give way to a tag', async (c) => {
    const [hole, long] = [c.key(), c.key()];
    await c.setHole(hole, 10);
    await c.setValue(long, 10, 'x'.repeat(1_000));
    for (const key of [hole, long]) {
      const token = c.token();
      const made = await c.tag(key, token);
      expectThat(made?.startsWith(`${token}@`) === true, `a tag must be made, got ${made}`);
      await c.expectHit(key, 0, made);
    }
  });

  // What `invalidateTag` does to a collection's rows: the tags that were ended are one list, begun as a tag.
  test('rule 9: a list of ended tags takes one more only as it was read, and is whole for every reader', async (c) => {
    const key = c.key();
    const others = c.underTest.second ?? c.cache;
    const begun = await c.tag(key, c.token());
    const listOf = (count: number): string =>
      `${begun} ${count} 0${Array.from({ length: count }, (_, i) => ` ${`tag-${i}`.padEnd(24, '-')}=${i + 1}`).join('')}`;
    const add = async (
      cache: typeof others,
      text: string,
      unchanged: CacheHit | undefined,
    ): Promise<string> => {
      expectThat(unchanged !== undefined, 'the list is missing');
      const lifetime = { ttlMs: 60_000, staleAtMs: 0 };
      const refresh = { kind: 'refresh', key, version: 0, payload: text, unchanged, ...lifetime } as const;
      return (await run(cache, refresh)).outcome;
    };
    const empty = await c.hit(key);
    expectEqual(await add(c.cache, listOf(1), empty), 'stored', 'the first tag that is ended');
    const one = await c.hit(key);
    expectEqual(await add(others, listOf(1), empty), 'refused', 'one that has not seen the first');
    expectEqual(await add(others, listOf(256), one), 'stored', 'as many as are listed, by another process');
    for (const encoding of ['utf8', 'binary'] as const) {
      const payload = (await c.hit(key, encoding))?.payload;
      const text = typeof payload === 'string' ? payload : payload && Buffer.from(payload).toString();
      expectEqual(text, listOf(256), `the list, read as ${encoding}`);
    }
    const long = await c.hit(key);
    await c.invalidate(key, 0);
    expectEqual(await add(c.cache, listOf(1), long), 'refused', 'an addition to a list that was ended');
    await c.expectMiss(key);
    await c.pass(STEP_MS);
    const again = await c.tag(key, c.token());
    expectThat(again !== undefined && again !== begun, 'a list that begins anew must have another token');
    expectEqual(await add(c.cache, listOf(1), long), 'refused', 'an addition to the list of before');
    await c.expectHit(key, 0, again);
  });
}
