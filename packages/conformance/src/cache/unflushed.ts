import { expectEqual, expectThat } from '../kit/expect.js';
import { buffered, clockOf, expectUnflushed, flushed, indexOf } from './buffer-steps.js';
import { type CacheCase, type CacheContext, LONG_MS } from './context.js';
import type { CacheHook } from './under-test.js';

/** More than any case adds. */
const LIMIT = 10_000;

/** Adds keys that must be taken: their marks. */
async function add(
  c: CacheContext,
  index: string,
  keys: readonly string[],
  limit = LIMIT,
): Promise<readonly number[]> {
  const { marks } = await indexOf(c).add(index, keys, limit);
  expectEqual(marks.length, keys.length, 'the number of marks');
  return marks.map((mark) => {
    expectThat(mark !== undefined, 'the index must take the key: it is not full');
    return mark;
  });
}

async function namesIn(c: CacheContext, index: string): Promise<readonly string[]> {
  return (await indexOf(c).list(index, 0, LIMIT)).map(({ key }) => key);
}

/** The index of unflushed keys, and what else a buffer rests on. */
export function unflushedCases(test: CacheCase, hooks: readonly CacheHook[]): void {
  test('index: keys are listed with their marks, the oldest first; each index on its own', async (c) => {
    const [first, second] = [c.key(), c.key()];
    const marks = await add(c, first, ['b', 'a', 'ß😀:{x} \0']);
    const later = await add(c, first, ['0']);
    await add(c, second, ['other']);
    const expected = ['b', 'a', 'ß😀:{x} \0', '0'].map((key, at) => ({
      key,
      mark: [...marks, ...later][at],
    }));
    expectEqual(await indexOf(c).list(first, 0, LIMIT), expected as never, 'the first index');
    expectEqual(await indexOf(c).size(first), 4, 'its size');
    expectEqual(await namesIn(c, second), ['other'], 'the second index');
    expectEqual(await indexOf(c).size(c.key()), 0, 'the size of an index that nobody wrote');
    expectEqual(await namesIn(c, c.key()), [], 'the keys of an index that nobody wrote');
  });

  test('index: an addition tells the clock by which deadlines count, with no keys, too', async (c) => {
    const { marks, nowMs } = await indexOf(c).add(c.key(), [], 0);
    expectEqual([...marks], [], 'the marks of no keys');
    expectThat(nowMs > 0, `nowMs must be the clock, got ${nowMs}`);
    const again = await clockOf(c);
    expectThat(again >= nowMs && again < nowMs + LONG_MS, `the clock must go on from ${nowMs}, got ${again}`);
  });

  test('index: marks are the clock in µs', async (c) => {
    const fromMs = await clockOf(c);
    const [mark = 0] = await add(c, c.key(), ['a']);
    const toMs = await clockOf(c);
    expectThat(
      mark >= fromMs * 1_000 && mark <= (toMs + 1) * 1_000,
      `the mark must be between ${fromMs * 1_000} and ${(toMs + 1) * 1_000}, got ${mark}`,
    );
  });

  test('index: a key that is added again gets a higher mark, and goes to the end', async (c) => {
    const index = c.key();
    const [old = 0, other = 0] = await add(c, index, ['a', 'b']);
    const [mark = 0] = await add(c, index, ['a']);
    expectThat(mark > old && mark > other, `the mark must rise above ${other}, got ${mark}`);
    expectEqual(
      await indexOf(c).list(index, 0, LIMIT),
      [
        { key: 'b', mark: other },
        { key: 'a', mark },
      ],
      'the index',
    );
  });

  test('index: a key twice in one call is listed once, with the higher mark', async (c) => {
    const index = c.key();
    const [first = 0, , second = 0] = await add(c, index, ['a', 'b', 'a']);
    expectThat(second >= first, 'the second mark must not be lower');
    const listed = await indexOf(c).list(index, 0, LIMIT);
    expectEqual(listed.find(({ key }) => key === 'a')?.mark, second, 'the mark that is listed');
    expectEqual(listed.length, 2, 'the number of keys');
  });

  test('index: a removal takes a key unless it was added again since (rule 8)', async (c) => {
    const index = c.key();
    const [old = 0, other = 0] = await add(c, index, ['a', 'b']);
    const [mark = 0] = await add(c, index, ['a']);
    await indexOf(c).remove(index, [
      { key: 'a', mark: old },
      { key: 'b', mark: other },
      { key: 'unknown', mark: other },
    ]);
    expectEqual(await indexOf(c).list(index, 0, LIMIT), [{ key: 'a', mark }], 'what is left');
    await indexOf(c).remove(index, []);
    expectEqual(await indexOf(c).size(index), 1, 'the size after removing nothing');
    await indexOf(c).remove(index, [{ key: 'a', mark }]);
    expectEqual(await indexOf(c).size(index), 0, 'the size at the end');
    const [again = 0] = await add(c, index, ['a']);
    expectThat(again > mark, `the mark of a key that came back must be above ${mark}, got ${again}`);
  });

  test('index: a full one takes no new keys, but those that it has', async (c) => {
    const index = c.key();
    await add(c, index, ['a', 'b'], 3);
    const { marks } = await indexOf(c).add(index, ['b', 'c', 'd', 'a', 'c', 'd'], 3);
    expectEqual(
      marks.map((mark) => mark !== undefined),
      [true, true, false, true, true, false],
      'which keys were taken',
    );
    expectEqual([...(await namesIn(c, index))].sort(), ['a', 'b', 'c'], 'the keys');
    await indexOf(c).remove(index, [{ key: 'c', mark: marks[4] ?? 0 }]);
    await add(c, index, ['d'], 3);
    expectEqual(await indexOf(c).size(index), 3, 'the size at the end');
  });

  test('index: its pages name every key once, those of one call included', async (c) => {
    const index = c.key();
    const keys = Array.from({ length: 1_203 }, (_, at) => `k${at}`);
    await add(c, index, keys);
    const found: string[] = [];
    for (let after = 0; found.length <= keys.length; ) {
      const page = await indexOf(c).list(index, after, 100);
      expectThat(page.length <= 100, `a page must keep to its limit, got ${page.length}`);
      const last = page.at(-1);
      if (last === undefined) break;
      found.push(...page.map(({ key }) => key));
      after = last.mark;
    }
    expectEqual(found, keys, 'the keys of all pages');
    await indexOf(c).remove(index, await indexOf(c).list(index, 0, LIMIT));
    expectEqual(await indexOf(c).size(index), 0, 'the size after removing all');
  });

  test('index: it is no entry: scan passes it by', async (c) => {
    const prefix = c.key();
    await add(c, `${prefix}:index`, ['a']);
    await c.setValue(`${prefix}:value`, 10);
    const found: string[] = [];
    for await (const { key } of c.cache.scan(prefix, 'utf8')) found.push(key);
    expectEqual(found, [`${prefix}:value`], 'what scan finds');
  });

  test('info: says whether it drops what does not expire', async (c) => {
    const { evicts, evictsPersistent } = await c.cache.info();
    expectThat(
      [true, false, undefined].includes(evictsPersistent),
      'evictsPersistent must be true, false or undefined',
    );
    expectThat(
      !(evicts === false && evictsPersistent === true),
      'what drops entries without an expiry drops entries: evicts must not be false',
    );
  });

  if (hooks.includes('second')) {
    test('two clients: what one buffers the other reads, finds in the index and flushes (G2)', async (c) => {
      const { second } = c.underTest;
      expectThat(second?.unflushed !== undefined, 'the second client must have the index, too');
      const [index, key] = [c.key(), c.key()];
      await c.setValue(key, 10);
      const [mark = 0] = await add(c, index, [key]);
      const version = await buffered(c, key);
      const [hit] = await second.read([key], 'utf8');
      expectThat(
        !(hit instanceof Error) && hit?.version === version && hit.unflushed === true,
        'the other client must read the buffered write',
      );
      expectEqual(await second.unflushed.list(index, 0, LIMIT), [{ key, mark }], "the other client's index");
      const times = { ttlMs: LONG_MS, staleAtMs: 0, holeTtlMs: LONG_MS };
      const [reply] = await second.execute([{ kind: 'flushed', key, version, outcome: 'stored', ...times }]);
      expectEqual(
        reply instanceof Error ? reply : reply?.kind === 'flushed' && reply.outcome,
        'cleared',
        'the flush',
      );
      await second.unflushed.remove(index, [{ key, mark }]);
      expectEqual(await indexOf(c).size(index), 0, 'the size of the index');
    });
  }

  if (hooks.includes('flushScripts')) {
    test('lost scripts: the buffer and its index work again by themselves', async (c) => {
      const lose = async (): Promise<void> => {
        await c.underTest.flushScripts?.();
      };
      const [index, key] = [c.key(), c.key()];
      await c.setValue(key, 10);
      await lose();
      const marks = await add(c, index, [key]);
      await lose();
      const version = await buffered(c, key);
      await expectUnflushed(c, key, version);
      await lose();
      expectEqual(await namesIn(c, index), [key], 'the index');
      await lose();
      expectEqual(await flushed(c, key, version), 'cleared', 'the flush');
      await lose();
      await indexOf(c).remove(index, [{ key, mark: marks[0] ?? 0 }]);
      await lose();
      expectEqual(await indexOf(c).size(index), 0, 'the size of the index');
    });
  }
}
