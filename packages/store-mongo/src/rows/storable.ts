import { types } from 'node:util';
import { type StoreCommand, StoreRefusedError } from '@lockstep/core';
import { BSON, type BSONSerializeOptions, type Document } from 'mongodb';
import type { Binding } from './binding.js';

/** The levels of a document that MongoDB stores, the document itself included. */
const MAX_LEVELS = 180;
/** The bytes of a document that MongoDB stores. */
const MAX_BYTES = 16_777_216;
/** The bytes of a version beside its name: a type, the name's end, 64 bits. */
const VERSION_BYTES = 1 + 1 + 8;
/** A UTF-16 unit takes at most three bytes. */
const UNIT_BYTES = 3;
/** More than any value takes beside its name and its text. */
const ELEMENT_BYTES = 32;
/** Flags of a regular expression that this driver stores. */
const REGEXP_FLAGS = /^[gim]*$/;
const MAX_INT64 = 2n ** 63n;

const NO_TEXT = 'is text that is not well-formed Unicode: the driver would store other text';

/** What the driver does with `undefined` and functions, as the collection's `bson` options have it. */
type Leniency = Pick<BSONSerializeOptions, 'ignoreUndefined' | 'serializeFunctions'>;

/** A value that can't be stored; its names are added from the inside out. */
class Problem {
  readonly path: string[] = [];
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  at(name: string): this {
    // Escaped where it could not be printed.
    this.path.unshift(JSON.stringify(name).slice(1, -1));
    return this;
  }
}

/** What a value is written by, for errors. */
export interface Written {
  readonly kind: StoreCommand<unknown>['kind'];
  readonly key: string;
}

type Bson = Pick<Binding, 'versionField'> & { readonly primary: Pick<Binding['primary'], 'bsonOptions'> };
type Target = Bson & Pick<Binding, 'name'>;

/**
 * Throws `StoreRefusedError`, with the path, for what the driver would store as something else, leave out, or fail for
 * without a name.
 *
 * @param document or, of a patch, the properties that are set
 * @param under levels that the values are put under
 */
export function checkStorable(binding: Target, command: Written, document: object, under = 0): void {
  const check = new Check(binding, MAX_LEVELS - under);
  const problem = check.document(document);
  if (problem !== undefined) throw refused(binding, command, problem);
}

/** As `checkStorable`, for the name of a property. */
export function checkName(binding: Target, command: Written, name: string): void {
  const problem = nameProblem(name);
  if (problem !== undefined) throw refused(binding, command, problem);
}

/** The driver's error for a value that it can't send, with the path where that can be told. */
export function unstorable(error: unknown, value: unknown, bson: BSONSerializeOptions): unknown {
  if (typeof value !== 'object' || value === null) return error;
  const problem = new Check({ primary: { bsonOptions: bson }, versionField: '' }, MAX_LEVELS).document(value);
  return problem === undefined ? error : new TypeError(textOf(problem), { cause: error });
}

function refused({ name }: Target, { key, kind }: Written, problem: Problem): StoreRefusedError {
  return new StoreRefusedError(`${name}: ${kind} of "${key}": ${textOf(problem)}`, { key });
}

function textOf({ path, text }: Problem): string {
  return `${path.length === 0 ? 'the value' : `"${path.join('.')}"`} ${text}`;
}

function nameProblem(name: string): Problem | undefined {
  if (!name.isWellFormed()) {
    return new Problem('is a name that is not well-formed Unicode: the driver would store another').at(name);
  }
  if (!name.includes('\0')) return undefined;
  return new Problem('is a name with U+0000, which ends names in BSON').at(name);
}

/** One walk through a value. Allocates nothing more where there is no problem. */
class Check {
  readonly #bson: Leniency;
  readonly #versionBytes: number;
  readonly #maxLevels: number;
  /** No less than the document's bytes. */
  #bytes = 0;

  constructor({ primary, versionField }: Bson, maxLevels: number) {
    this.#bson = primary.bsonOptions;
    this.#versionBytes = VERSION_BYTES + versionField.length;
    this.#maxLevels = maxLevels;
  }

  document(document: object): Problem | undefined {
    if (!isPlain(document)) {
      const isValue =
        document instanceof Date || document instanceof RegExp || document instanceof Uint8Array;
      if (isValue || types.isMap(document) || '_bsontype' in document || isEmptyToBson(document)) {
        return new Problem(`must be a document, and is a ${classOf(document)}`);
      }
    }
    if (Object.hasOwn(document, '$ref') && Object.hasOwn(document, '$id')) {
      return new Problem('is beside "$id": the driver would read the whole document as a DBRef').at('$ref');
    }
    return this.#object(document, 0) ?? this.#weight(document);
  }

  #members(object: object, level: number): Problem | undefined {
    if (level > this.#maxLevels) {
      return new Problem(
        `is beyond ${MAX_LEVELS} levels, which is all that MongoDB stores, or leads back to itself`,
      );
    }
    if (Array.isArray(object)) {
      for (let at = 0; at < object.length; at += 1) {
        this.#bytes += ELEMENT_BYTES;
        const problem = this.#value(object[at], level, true);
        if (problem !== undefined) return problem.at(String(at));
      }
      return undefined;
    }
    for (const name of Object.keys(object)) {
      const problem = this.#member(name, (object as Document)[name], level);
      if (problem !== undefined) return problem;
    }
    return undefined;
  }

  /** A document that may be too large is measured. */
  #weight(document: object): Problem | undefined {
    if (this.#bytes + this.#versionBytes <= MAX_BYTES) return undefined;
    const { ignoreUndefined = false, serializeFunctions = false } = this.#bson;
    const options = { ignoreUndefined, serializeFunctions };
    const bytes = BSON.calculateObjectSize(document, options) + this.#versionBytes;
    if (bytes <= MAX_BYTES) return undefined;
    let largest = ['', 0] as readonly [string, number];
    for (const [name, value] of Object.entries(document)) {
      const size = BSON.calculateObjectSize({ v: value }, options);
      if (size > largest[1]) largest = [name, size];
    }
    return new Problem(
      `makes the document too large: ${bytes} bytes, of which it has ${largest[1]}; MongoDB stores ${MAX_BYTES}`,
    ).at(largest[0]);
  }

  #member(name: string, value: unknown, level: number): Problem | undefined {
    this.#bytes += name.length * UNIT_BYTES + ELEMENT_BYTES;
    return nameProblem(name) ?? this.#value(value, level, false)?.at(name);
  }

  #value(value: unknown, level: number, inArray: boolean): Problem | undefined {
    switch (typeof value) {
      case 'string':
        return this.#text(value);
      case 'object':
        return value === null ? undefined : this.#object(value, level);
      case 'undefined':
        if (this.#bson.ignoreUndefined === true && !inArray) return undefined;
        return new Problem(
          'is undefined, which the driver would store as null: leave it out, or set it to null',
        );
      case 'bigint':
        if (value < MAX_INT64 && value >= -MAX_INT64) return undefined;
        return new Problem('is a bigint beyond 64 bits: use a Decimal128');
      case 'function':
        if (this.#bson.serializeFunctions === true) return undefined;
        return new Problem('is a function, which the driver would leave out');
      case 'symbol':
        return new Problem('is a symbol, which the driver would leave out');
      default:
        return undefined;
    }
  }

  #text(text: string): Problem | undefined {
    this.#bytes += text.length * UNIT_BYTES;
    return text.isWellFormed() ? undefined : new Problem(NO_TEXT);
  }

  #object(object: object, level: number): Problem | undefined {
    if (Array.isArray(object)) return this.#members(object, level + 1);
    if (!isPlain(object)) {
      const kind = this.#ofClass(object, level);
      if (kind !== PLAIN) return kind;
    }
    const { toBSON } = object as { readonly toBSON?: unknown };
    if (typeof toBSON !== 'function' || level >= this.#maxLevels) return this.#members(object, level + 1);
    return this.#value(toBSON.call(object), level + 1, false);
  }

  /** A value of a class; {@link PLAIN}: the driver stores its properties. */
  #ofClass(object: object, level: number): Problem | undefined | typeof PLAIN {
    if (object instanceof Date) {
      if (!Number.isNaN(object.getTime())) return undefined;
      return new Problem('is no time, or one that no JavaScript date reaches: the driver would store 1970');
    }
    if (object instanceof Uint8Array) {
      this.#bytes += object.byteLength;
      return undefined;
    }
    if ('_bsontype' in object) return this.#ofBson(object, level);
    if (object instanceof RegExp) {
      if (!REGEXP_FLAGS.test(object.flags)) {
        return new Problem(`is a regular expression with the flags "${object.flags}"; BSON holds g, i and m`);
      }
      if (object.source.includes('\0')) return new Problem('is a regular expression with U+0000');
      return this.#text(object.source);
    }
    if (types.isMap(object)) return this.#map(object, level + 1);
    if (!isEmptyToBson(object)) return PLAIN;
    return new Problem(`is a ${classOf(object)}, whose content the driver would not store`);
  }

  /** The driver stores a Map as a document, in its order. */
  #map(map: Map<unknown, unknown>, level: number): Problem | undefined {
    for (const [name, value] of map) {
      if (typeof name !== 'string') {
        const text = String(typeof name === 'object' ? typeof name : name);
        return new Problem(`is a key of a Map that is no text but ${typeof name}: names must be text`).at(
          text,
        );
      }
      const problem = this.#member(name, value, level);
      if (problem !== undefined) return problem;
    }
    return undefined;
  }

  /** What BSON's own classes hold in text, documents and bytes. */
  #ofBson(object: object, level: number): Problem | undefined {
    for (const [name, inner] of Object.entries(object)) {
      if (inner instanceof Uint8Array) this.#bytes += inner.byteLength;
      else if (typeof inner === 'string' || (typeof inner === 'object' && inner !== null)) {
        const problem = this.#value(inner, level, false);
        if (problem !== undefined) return problem.at(name);
      }
    }
    return undefined;
  }
}

/** The driver stores such an object's properties. */
const PLAIN = Symbol('plain');

function isPlain(object: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(object);
  return prototype === Object.prototype || prototype === null;
}

function classOf(object: object): string {
  return Object.prototype.toString.call(object).slice(8, -1);
}

/** True of objects whose content is in no properties of theirs. */
function isEmptyToBson(object: object): boolean {
  return (
    types.isSet(object) ||
    types.isWeakMap(object) ||
    types.isWeakSet(object) ||
    types.isPromise(object) ||
    types.isNativeError(object) ||
    types.isAnyArrayBuffer(object) ||
    types.isArrayBufferView(object) ||
    types.isBoxedPrimitive(object)
  );
}
