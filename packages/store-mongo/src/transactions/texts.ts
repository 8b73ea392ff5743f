import type { Change, ColumnTexts } from '@lockstep/core';
import { type KeptTags, keptTags, leaveTags, withKept } from '../rows/kept-tags.js';
import { statesAt } from '../rows/states-at.js';
import type { CallBound } from '../wire/bound.js';
import type { TransactionLog } from './log.js';

/** Rows that are read in one statement. */
const CHUNK = 1_000;

/**
 * The changes of a transaction, with the values that declared fields had before it and have now, and what was kept of tags. A
 * row that it has changed is its own until it ends, and stands outside exactly as it was before.
 */
export async function withTexts(tx: TransactionLog, bound: CallBound): Promise<readonly Change[]> {
  const changes = tx.recorded();
  const texts = new Map<Change, readonly ColumnTexts[]>();
  for (const binding of tx.declaring) {
    const own = changes.filter(({ source }) => source === binding.source);
    for (let at = 0; at < own.length; at += CHUNK) {
      const chunk = own.slice(at, at + CHUNK);
      const keys = chunk.map(({ key }) => key);
      const { fields } = binding.declared;
      const inside = await statesAt(binding, keys, fields, { bound, session: tx.session });
      const outside = { bound, session: undefined };
      const before = await statesAt(binding, keys, fields, outside, { readConcern: { level: 'local' } });
      const isTagged = binding.declared.tagged.length > 0;
      const kept = isTagged ? await keptTags(binding, keys, outside) : new Map<string, KeptTags>();
      for (const change of chunk) {
        const { key } = change;
        texts.set(change, withKept(binding, kept.get(key), [before.get(key), inside.get(key)]));
      }
      if (!isTagged) continue;
      const left = keys.map((key) => ({ key, states: inside.get(key) }));
      await leaveTags(binding, left, kept, { bound, session: tx.session });
    }
  }
  if (texts.size === 0) return changes;
  return changes.map((change) => {
    const own = texts.get(change);
    return own === undefined ? change : { ...change, texts: own };
  });
}
