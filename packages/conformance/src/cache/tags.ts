import { expectEqual, expectThat } from '../kit/expect.js';
import type { CacheCase } from './context.js';

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
}
