import type { NoticeBoard } from '@lockstep/core';
import { ScriptCall } from './calls.js';
import type { Dispatch } from './dispatch.js';

/** The notices of processes: a hash under the board's own name. */
export function noticeBoard(dispatch: Dispatch): NoticeBoard {
  async function call(board: string, ...args: readonly string[]): Promise<unknown> {
    const [reply] = await dispatch.run([new ScriptCall('notices', board, args, 'utf8')]);
    if (reply instanceof Error) throw reply;
    return reply;
  }
  return {
    async post(board, name, text, { limit, ttlMs }) {
      return (await call(board, 'post', name, String(ttlMs), String(limit), text)) === 'posted';
    },
    async list(board) {
      const reply = await call(board, 'list');
      if (!Array.isArray(reply)) throw new Error('the notices: unexpected reply');
      return reply.map(String);
    },
    async remove(board, name) {
      await call(board, 'remove', name);
    },
  };
}
