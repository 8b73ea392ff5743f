import type { NoticeBoard } from '@lockstep/core';
import { expectEqual, expectThat } from '../kit/expect.js';
import { type CacheCase, type CacheContext, LONG_MS } from './context.js';

const LASTS = { ttlMs: LONG_MS, limit: 3 };

function boardOf(c: CacheContext): NoticeBoard {
  const { notices } = c.cache;
  expectThat(notices !== undefined, 'options.notices is set, but cache.notices is not there');
  return notices;
}

/** The notices that processes leave for each other. */
export function noticeCases(test: CacheCase): void {
  test('notices: one for each name, the last of it; each board on its own', async (c) => {
    const [notices, first, second] = [boardOf(c), c.key(), c.key()];
    expectEqual(await notices.list(first), [], 'the notices of a board that nobody wrote');
    expectThat(await notices.post(first, 'a', 'old', LASTS), 'there is room');
    expectThat(await notices.post(first, 'a', 'new 1 2\nß😀', LASTS), 'its own place is free');
    expectThat(await notices.post(first, 'b', '', LASTS), 'there is room');
    expectThat(await notices.post(second, 'a', 'other', LASTS), 'there is room');
    expectEqual((await notices.list(first)).toSorted(), ['', 'new 1 2\nß😀'], 'the first board');
    await notices.remove(first, 'a');
    await notices.remove(first, 'nobody');
    expectEqual(await notices.list(first), [''], 'what is left');
    expectEqual(await notices.list(second), ['other'], 'the second board');
  });

  test('notices: a full board takes no further name, and the known ones all the same', async (c) => {
    const [notices, board] = [boardOf(c), c.key()];
    for (const name of ['a', 'b', 'c'])
      expectThat(await notices.post(board, name, name, LASTS), 'there is room');
    expectEqual(await notices.post(board, 'd', 'd', LASTS), false, 'a fourth of three');
    expectThat(await notices.post(board, 'b', 'again', LASTS), 'its own place is free');
    expectEqual((await notices.list(board)).toSorted(), ['a', 'again', 'c'], 'the notices');
  });

  test('notices: one whose time is over is told to nobody, and keeps no place', async (c) => {
    const [notices, board] = [boardOf(c), c.key()];
    expectThat(await notices.post(board, 'stays', 'stays', LASTS), 'there is room');
    for (const name of ['a', 'b']) await notices.post(board, name, name, { ...LASTS, ttlMs: 1 });
    await c.pass(50);
    expectThat(await notices.post(board, 'd', 'd', LASTS), 'there is room again');
    expectEqual((await notices.list(board)).toSorted(), ['d', 'stays'], 'the notices');
  });
}
