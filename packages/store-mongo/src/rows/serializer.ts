import type { Serializer } from '@lockstep/core';
import { BSON, type BSONSerializeOptions } from 'mongodb';

/**
 * Payloads in BSON: whatever the driver stores survives the cache unchanged. `options` are those that
 * the collection is read with, so that a value from the cache has the same types as one from the store.
 */
export function bsonSerializer(options: BSONSerializeOptions = {}): Serializer {
  const { ignoreUndefined = false, serializeFunctions = false } = options;
  return {
    name: 'bson',
    encoding: 'binary',
    serialize: (value) => BSON.serialize({ v: value }, { ignoreUndefined, serializeFunctions }),
    deserialize(payload) {
      if (typeof payload === 'string') throw new TypeError('bson: the payload is text');
      const document = BSON.deserialize(payload, options);
      if (!Object.hasOwn(document, 'v')) throw new TypeError('bson: not a payload of this serializer');
      return document['v'] as unknown;
    },
  };
}
