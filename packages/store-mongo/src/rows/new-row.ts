import { LockstepError, type NewRow } from '@lockstep/core';
import { type Document, ObjectId } from 'mongodb';
import { asDocument, type Binding } from './binding.js';
import { encodeKey } from './key.js';

/** A document that is to be inserted, with an `_id` of the driver's kind where it has none; as the driver, without a call. */
export function newRow<Value extends Document>(
  binding: Binding,
  value: Value,
): NewRow<Value> | LockstepError {
  try {
    const { _id = new ObjectId(), ...rest } = asDocument(binding, value);
    return { key: encodeKey(_id, binding.source), value: { _id, ...rest } as unknown as Value };
  } catch (error) {
    if (error instanceof LockstepError) return error;
    throw error;
  }
}
