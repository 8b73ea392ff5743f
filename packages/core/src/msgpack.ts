import { Packr } from 'msgpackr';
import type { Serializer } from './contracts/store.js';

/**
 * MessagePack, through `msgpackr` (a peer dependency): dates, bigints, binary, maps and sets survive;
 * functions and symbols throw.
 */
export function msgpackSerializer(): Serializer {
  const packr = new Packr({ structuredClone: true, useRecords: false });
  return {
    name: 'msgpack',
    encoding: 'binary',
    serialize: (value) => packr.pack(value),
    deserialize: (payload) => packr.unpack(payload as Uint8Array),
  };
}
