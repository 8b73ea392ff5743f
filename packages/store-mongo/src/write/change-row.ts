import { type Document, MongoServerError, MongoWriteConcernError } from 'mongodb';
import type { Binding } from '../rows/binding.js';
import { type Call, canBegin, writeOptions } from '../wire/call.js';
import { CODE, isTooLate } from '../wire/errors.js';

/**
 * Changes one row, and gives it as it is then; `null` where the filter finds none. A statement that was begun too late,
 * or waited too long for a row that others hold, changed nothing: it is sent again for as long as the call may take.
 *
 * @param update made for each try: it holds the time until which the server may begin
 */
export async function changeRow(
  binding: Binding,
  call: Call,
  filter: Document,
  update: () => Document[],
): Promise<Document | null> {
  for (let sent = 1; ; sent += 1) {
    try {
      const stages = update();
      return await binding.primary.findOneAndUpdate(filter, stages, {
        ...writeOptions(call),
        returnDocument: 'after',
      });
    } catch (error) {
      if (!isUnchanged(error) || !canBegin(call, sent)) throw error;
    }
  }
}

function isUnchanged(error: unknown): boolean {
  // The row was written when only the wait for the write concern was cut short.
  if (!(error instanceof MongoServerError) || error instanceof MongoWriteConcernError) return false;
  return error.code === CODE.maxTimeExpired || isTooLate(error);
}
