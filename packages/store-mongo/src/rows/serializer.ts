import { isDeepStrictEqual } from 'node:util';
import type { Serializer } from '@lockstep/core';
import { BSON, type BSONSerializeOptions, type Document } from 'mongodb';
import type { Binding } from './binding.js';
import { type Marks, marksOf, restoreMarks } from './marks.js';
import { unstorable } from './storable.js';

/**
 * Payloads in BSON: whatever the driver reads survives the cache unchanged. `options` are those that
 * the collection is read with, so that a value from the cache has the same types as one from the store.
 */
export function bsonSerializer(options: BSONSerializeOptions = {}): Serializer {
  const { ignoreUndefined = false, serializeFunctions = false } = options;
  return {
    name: 'bson',
    encoding: 'binary',
    serialize(value) {
      const marks = marksOf(value);
      const payload = marks === undefined ? { v: value } : { v: value, marks };
      try {
        return BSON.serialize(payload, { ignoreUndefined, serializeFunctions });
      } catch (error) {
        throw unstorable(error, value, options);
      }
    },
    deserialize(payload) {
      if (typeof payload === 'string') throw new TypeError('bson: the payload is text');
      const document: Document = BSON.deserialize(payload, options);
      if (!Object.hasOwn(document, 'v')) throw new TypeError('bson: not a payload of this serializer');
      const value: unknown = document['v'];
      if (document['marks'] !== undefined) restoreMarks(value, document['marks'] as Marks);
      return value;
    },
  };
}

/** True when the driver gives back these properties of a document as they are. Does not throw. */
export function returnsAsSent({ primary, versionField }: Binding, set: object): boolean {
  // A value for the version is nobody's affair.
  if (Object.hasOwn(set, versionField)) return false;
  const { ignoreUndefined = false, serializeFunctions = false } = primary.bsonOptions;
  try {
    const sent = BSON.serialize(set, { ignoreUndefined, serializeFunctions });
    return isDeepStrictEqual(BSON.deserialize(sent, primary.bsonOptions), set);
  } catch {
    return false;
  }
}
