import {
  type AnyBulkWriteOperation,
  type BulkWriteOptions,
  MongoBulkWriteError,
  MongoServerError,
} from 'mongodb';
import type { Binding } from '../rows/binding.js';
import { type Call, statementOptions } from '../wire/call.js';

export interface BulkResult {
  /** The errors of the refused operations, by position. */
  readonly errors: ReadonlyMap<number, MongoServerError>;
  readonly matched: number;
}

/** An unordered bulk write that tells its refusals one by one, and throws only what concerns all of them. */
export async function bulk(
  binding: Binding,
  operations: readonly AnyBulkWriteOperation[],
  call: Call,
  options: Pick<BulkWriteOptions, 'let' | 'maxTimeMS'> = {},
): Promise<BulkResult> {
  try {
    const result = await binding.primary.bulkWrite([...operations], {
      ...statementOptions(call),
      ordered: false,
      ...options,
    });
    return { errors: new Map(), matched: result.matchedCount };
  } catch (error) {
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
