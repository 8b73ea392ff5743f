import { Packr } from 'msgpackr';
import type { Serializer } from '../contracts/store.js';

/**
 * MessagePack, through `msgpackr` (a peer dependency): dates, bigints, binary, maps and sets
 * survive; functions and symbols throw; instances of other classes come back as plain objects.
 */
export function msgpackSerializer(): Serializer {
  // Records, each payload with its own definitions: without them a `Map` comes back as an object.
  const packr = new Packr({ structuredClone: true, useRecords: true, writeFunction: refuseFunction });
  return {
    name: 'msgpack',
    encoding: 'binary',
    serialize: (value) => packr.pack(value),
    deserialize: (payload) => packr.unpack(payload as Uint8Array),
  };
}

function refuseFunction(): never {
  throw new TypeError("a function can't be carried by MessagePack");
}
