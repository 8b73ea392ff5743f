import type { Change, ColumnTexts } from '@lockstep/core';
import { textsAt } from '../rows/texts-at.js';
import type { CallBound } from '../wire/bound.js';
import type { TransactionLog } from './log.js';

/** Rows that are read in one statement. */
const CHUNK = 1_000;

/**
 * The changes of a transaction, with the values that declared fields had before it and have now. A row that it has changed is
 * its own until it ends, and stands outside exactly as it was before.
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
      const inside = await textsAt(binding, keys, fields, { bound, session: tx.session });
      const outside = { bound, session: undefined };
      const before = await textsAt(binding, keys, fields, outside, { readConcern: { level: 'local' } });
      for (const change of chunk) {
        const states = [before.get(change.key), inside.get(change.key)];
        texts.set(
          change,
          states.filter((state) => state !== undefined),
        );
      }
    }
  }
  if (texts.size === 0) return changes;
  return changes.map((change) => {
    const own = texts.get(change);
    return own === undefined ? change : { ...change, texts: own };
  });
}
