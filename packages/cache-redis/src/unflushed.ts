import type { UnflushedIndex, UnflushedKey } from '@lockstep/core';
import { ScriptCall } from './calls.js';
import type { Dispatch } from './dispatch.js';

/** Keys in one call of the script: more would keep the server's other clients waiting. */
const BATCH = 500;

/** The index of unflushed keys: a sorted set under the index's own name. */
export function unflushedIndex(dispatch: Dispatch, durable: boolean): UnflushedIndex {
  async function call(index: string, ...args: readonly string[]): Promise<unknown> {
    const [reply] = await dispatch.run([new ScriptCall('unflushed', index, args, 'utf8')]);
    if (reply instanceof Error) throw reply;
    return reply;
  }
  return {
    durable,
    async add(index: string, keys: readonly string[], limit: number) {
      const marks: (number | undefined)[] = [];
      let nowMs: number | undefined;
      for (const some of batches(keys)) {
        const reply = await call(index, 'add', String(limit), ...some);
        const [now, ...given] = String(reply).split(' ').map(Number);
        nowMs ??= now;
        for (const mark of given) marks.push(mark === 0 ? undefined : mark);
      }
      if (nowMs === undefined || Number.isNaN(nowMs) || marks.length !== keys.length) {
        throw new Error('the index of unflushed keys: unexpected reply');
      }
      return { nowMs, marks };
    },
    async list(index: string, afterMark: number, limit: number) {
      const reply = await call(index, 'list', String(afterMark), String(limit));
      if (!Array.isArray(reply)) throw new Error('the index of unflushed keys: unexpected reply');
      const keys: UnflushedKey[] = [];
      for (let at = 0; at + 1 < reply.length; at += 2) {
        keys.push({ key: String(reply[at]), mark: Number(reply[at + 1]) });
      }
      return keys;
    },
    async remove(index: string, keys: readonly UnflushedKey[]) {
      if (keys.length === 0) return;
      for (const some of batches(keys)) {
        await call(index, 'remove', ...some.flatMap(({ key, mark }) => [key, String(mark)]));
      }
    },
    size: async (index: string) => Number(await call(index, 'size')),
  };
}

/** At least one, which may be empty. */
function batches<Item>(items: readonly Item[]): (readonly Item[])[] {
  if (items.length <= BATCH) return [items];
  return Array.from({ length: Math.ceil(items.length / BATCH) }, (_, index) =>
    items.slice(index * BATCH, (index + 1) * BATCH),
  );
}
