import { type AnyBulkWriteOperation, type Document, MongoBulkWriteError, MongoServerError } from 'mongodb';
import type { Binding } from '../rows/binding.js';
import { type Call, canBegin, writeOptions } from '../wire/call.js';
import { isTooLate } from '../wire/errors.js';

export interface BulkResult {
  /** The errors of the refused operations, by position. */
  readonly errors: ReadonlyMap<number, MongoServerError>;
  readonly matched: number;
}

export interface BulkOptions {
  readonly maxTimeMS?: number | undefined;
  /** The variables of the operations, made for each try: they hold the time until which the server may begin. */
  readonly variables?: () => Document;
}

/**
 * An unordered bulk write that tells its refusals one by one, and throws only what concerns all of them. One whose
 * variables say that it was begun too late is sent again while the call lasts.
 */
export async function bulk(
  binding: Binding,
  operations: readonly AnyBulkWriteOperation[],
  call: Call,
  { maxTimeMS, variables }: BulkOptions = {},
  sent = 1,
): Promise<BulkResult> {
  const lets = variables === undefined ? {} : { let: variables() };
  try {
    const result = await binding.primary.bulkWrite([...operations], {
      ...writeOptions(call),
      ordered: false,
      ...(maxTimeMS === undefined ? {} : { maxTimeMS }),
      ...lets,
    });
    return { errors: new Map(), matched: result.matchedCount };
  } catch (error) {
    if (variables !== undefined && isTooLate(error) && !hasBegun(error) && canBegin(call, sent)) {
      return await bulk(binding, operations, call, { maxTimeMS, variables }, sent + 1);
    }
    if (!(error instanceof MongoBulkWriteError)) throw error;
    const refused = [error.writeErrors].flat();
    // A write concern's failure, a time-out or a step-down in the middle says nothing of the rest.
    if (refused.length === 0 || error.result.getWriteConcernError() !== undefined) throw error;
    const errors = new Map(
      refused.map(({ index, code, errmsg }) => {
        const message = errmsg ?? `code ${code}`;
        return [index, new MongoServerError({ message, errmsg: message, code })] as const;
      }),
    );
    return { errors, matched: error.matchedCount };
  }
}

/** The driver sends a large bulk in several commands. */
function hasBegun(error: unknown): boolean {
  return error instanceof MongoBulkWriteError && error.matchedCount > 0;
}
