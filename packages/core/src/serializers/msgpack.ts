import { Packr } from 'msgpackr';
import type { Serializer } from '../contracts/serializer.js';

/**
 * MessagePack, through `msgpackr` (a peer dependency): plain values, dates, bigints, bytes, maps, sets, errors and regular
 * expressions survive, minus zero included; anything else (functions, symbols, instances of other classes) throws a
 * `TypeError` that names its path, rather than coming back as something else.
 */
export function msgpackSerializer(): Serializer {
  // Records, each payload with its own definitions: without them a `Map` comes back as an object.
  const packr = new Packr({ structuredClone: true, useRecords: true, writeFunction: refuseFunction });
  return {
    name: 'msgpack',
    encoding: 'binary',
    serialize(value) {
      const zeros = minusZeros(value);
      if (zeros === undefined) return packr.pack(value);
      return Buffer.concat([MARKED, packr.pack({ value, zeros })]);
    },
    deserialize(payload) {
      const bytes = payload as Uint8Array;
      if (bytes[0] !== MARKED[0]) return packr.unpack(bytes);
      const { value, zeros } = packr.unpack(bytes.subarray(1)) as { value: unknown; zeros: Path[] };
      const root = { value };
      for (const path of zeros) setMinusZero(root, path);
      return root.value;
    },
  };
}

type Path = (string | number)[];

/** A byte that no MessagePack begins with: zeros that were minus zero follow, which `msgpackr` packs as an integer. */
const MARKED = Buffer.from([0xc1]);

/** The classes whose instances `msgpackr` gives back as instances of the same class. */
const CARRIED = [Date, Map, Set, ArrayBuffer, RegExp, Error];

/** The paths of what is minus zero, below a `value`; `undefined`: none is. Throws for what can't be carried. */
function minusZeros(value: unknown): Path[] | undefined {
  let zeros: Path[] | undefined;
  const path: Path = ['value'];
  const seen = new Set<object>();
  const visit = (at: unknown): void => {
    if (at === 0 && Object.is(at, -0)) {
      zeros ??= [];
      zeros.push([...path]);
    } else if (typeof at === 'object' && at !== null && !seen.has(at)) visitObject(at);
  };
  const visitObject = (at: object): void => {
    const prototype: unknown = Object.getPrototypeOf(at);
    const list = Array.isArray(at);
    if (!list && prototype !== Object.prototype && prototype !== null) {
      if (ArrayBuffer.isView(at) || CARRIED.some((carried) => at instanceof carried)) return;
      if (Object.getPrototypeOf(prototype) !== null) throw uncarried(path, at);
    }
    seen.add(at);
    path.push('');
    const names = list ? at.keys() : Object.keys(at);
    for (const name of names) {
      path[path.length - 1] = name;
      visit((at as Record<string | number, unknown>)[name]);
    }
    path.pop();
  };
  visit(value);
  return zeros;
}

function uncarried([, ...path]: Path, what: object): TypeError {
  const where = path.length === 0 ? 'the value' : path.join('.');
  const of = `an instance of ${what.constructor?.name ?? 'a class'}`;
  return new TypeError(`${where} is ${of}, which MessagePack can't carry; use another serializer`);
}

/** Leaves what is not zero, as in a payload that somebody made up. */
function setMinusZero(root: object, path: Path): void {
  let at: unknown = root;
  for (const part of path.slice(0, -1)) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, part)) return;
    at = (at as Record<string | number, unknown>)[part];
  }
  const name = path.at(-1) ?? '';
  if (typeof at !== 'object' || at === null || !Object.hasOwn(at, name)) return;
  const object = at as Record<string | number, unknown>;
  if (object[name] === 0) object[name] = -0;
}

function refuseFunction(): never {
  throw new TypeError("a function can't be carried by MessagePack");
}
