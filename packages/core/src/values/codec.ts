import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { CacheHit, Payload } from '../contracts/cache-commands.js';
import type { Serializer } from '../contracts/serializer.js';
import type { StoreFlush } from '../contracts/store.js';
import type { Version } from '../contracts/version.js';
import { messageOf, SerializationError, UnsupportedError, ValidationError } from '../errors.js';
import { type Compression, isCompressed } from './compression.js';
import { Schema } from './schema.js';
import type { Shapes } from './shapes.js';
import { parseSigned } from './signed-payload.js';
import { isCurrent, type TagsNow, type WHATEVER_ENDED, withHead, withoutHead } from './tag-heads.js';

/** The outcome of decoding a payload. */
export type Decoded<Value> = { readonly ok: true; readonly value: Value | null } | Undecoded;

/**
 * Why a hit can't be used. `later-shape`: a process that knows another shape of the rows made it, and may use it.
 * `changed`: a tag of it was ended.
 */
export interface Undecoded {
  readonly ok: false;
  readonly reason: 'undecodable' | 'schema' | 'integrity' | 'shape' | 'later-shape' | 'changed';
}

const ABSENT = { ok: true, value: null } as const;
const UNDECODABLE = { ok: false, reason: 'undecodable' } as const;
const SHAPE = { ok: false, reason: 'shape' } as const;
const LATER_SHAPE = { ok: false, reason: 'later-shape' } as const;
const CHANGED = { ok: false, reason: 'changed' } as const;

function without<Value>(value: Value, properties: readonly string[]): Value {
  const rest = Object.entries(value as object).filter(([property]) => !properties.includes(property));
  return Object.fromEntries(rest) as Value;
}

/** A buffered value, as a flush takes it. */
export type Buffered<Value> = Pick<StoreFlush<Value>, 'value' | 'keep'>;

/** Tells which tags a row has, as its entry notes them. */
export interface RowTagging {
  of(row: unknown): readonly string[];
}

export interface CodecParts<Value> {
  readonly collection: string;
  readonly serializer: Serializer;
  readonly schema: StandardSchemaV1<unknown, Value> | undefined;
  readonly maxBytes: number;
  readonly shapes: Shapes | undefined;
  readonly compression: Compression;
  /** Tells a row's tags; absent: rows have none. */
  readonly tags?: RowTagging | undefined;
}

/** Values to payloads and back, through the collection's serializer and schema. */
export class Codec<Value> {
  readonly serializer: Serializer;
  /** True when a schema validates whole values. */
  readonly hasSchema: boolean;
  readonly #schema: Schema<Value> | undefined;
  readonly #collection: string;
  readonly #maxBytes: number;
  readonly #shapes: Shapes | undefined;
  readonly #compression: Compression;
  readonly #tags: RowTagging | undefined;

  constructor(parts: CodecParts<Value>) {
    const { collection, compression, maxBytes, schema, serializer, shapes, tags } = parts;
    this.#tags = tags;
    this.#collection = collection;
    this.serializer = serializer;
    this.hasSchema = schema !== undefined;
    this.#schema = schema && new Schema(schema, collection);
    this.#maxBytes = maxBytes;
    this.#shapes = shapes;
    this.#compression = compression;
  }

  /**
   * The payload; a promise only of a long one that is compressed, which does not reject. Throws `SerializationError`.
   *
   * @param _version `undefined`: the cache will give it one
   * @param mark `undefined`: where rows have tags, nobody takes the payload from the cache but a buffered one
   */
  encode(
    value: Value,
    key: string,
    _version: Version | undefined,
    mark?: string,
  ): Payload | Promise<Payload> {
    return this.serialize(value, key, mark);
  }

  /** The payload of a deleted row. */
  encodeAbsent(_key: string, _version: Version | undefined): Payload | null {
    return null;
  }

  protected serialize(value: Value, key: string, mark: string | undefined): Payload | Promise<Payload> {
    const stored = this.#compression.stored(this.#bodyOf(value, key));
    // The caller may change the value while it is compressed.
    const tags = mark === undefined ? undefined : this.#tags?.of(value);
    return stored instanceof Promise
      ? stored.then((late) => this.#wrapped(late, mark, tags))
      : this.#wrapped(stored, mark, tags);
  }

  #wrapped(body: Payload, mark: string | undefined, tags: readonly string[] | undefined): Payload {
    const wrapped = this.#shapes === undefined ? body : this.#shapes.wrap(body);
    return mark === undefined || tags === undefined ? wrapped : withHead(wrapped, mark, tags);
  }

  #bodyOf(value: Value, key: string): Payload {
    try {
      const body = this.serializer.serialize(value);
      if (typeof body === 'string' || body instanceof Uint8Array) return body;
      throw new TypeError(`serializer "${this.serializer.name}" returned ${typeof body}`);
    } catch (error) {
      throw this.#unserializable(error, key);
    }
  }

  /** About how long the payload would be, uncompressed. Throws `SerializationError`, as `encode` would. */
  measure(value: Value, key: string): number {
    if (this.serializer.measure === undefined) return this.#bodyOf(value, key).length;
    try {
      return this.serializer.measure(value);
    } catch (error) {
      throw this.#unserializable(error, key);
    }
  }

  #unserializable(error: unknown, key: string): SerializationError {
    const message = messageOf(error);
    return new SerializationError(`collection "${this.#collection}", key "${key}": ${message}`, {
      cause: error,
      collection: this.#collection,
      key,
    });
  }

  /** True when the payload may be cached. Text counts its UTF-8 bytes. */
  fits(payload: Payload): boolean {
    if (typeof payload !== 'string') return payload.byteLength <= this.#maxBytes;
    // A UTF-16 unit takes at most three bytes: most payloads need no counting.
    return payload.length * 3 <= this.#maxBytes || Buffer.byteLength(payload) <= this.#maxBytes;
  }

  /**
   * Decodes a hit; a promise only of a long payload that is compressed, and where the schema validates asynchronously.
   * Never throws, nor rejects.
   *
   * @param now where rows have tags: what was ended by now
   */
  decode(
    hit: CacheHit,
    _key: string,
    now?: TagsNow | typeof WHATEVER_ENDED,
  ): Decoded<Value> | Promise<Decoded<Value>> {
    if (hit.payload === null) return ABSENT;
    let payload = hit.payload;
    if (this.#tags !== undefined) {
      if (hasEnded(hit, payload, now)) return CHANGED;
      payload = withoutHead(payload);
    }
    let body: Payload | undefined = payload;
    let wider = false;
    if (this.#shapes !== undefined) {
      body = this.#shapes.own(payload);
      if (body === undefined) {
        const other = this.#shapes.fit(payload);
        if (other.fit !== 'wider') return other.fit === 'later' ? LATER_SHAPE : SHAPE;
        body = other.body;
        wider = true;
      }
    }
    return isCompressed(body) ? this.#decompressed(body, wider) : this.#deserialized(body, wider);
  }

  #decompressed(body: Payload, wider: boolean): Decoded<Value> | Promise<Decoded<Value>> {
    try {
      const plain = this.#compression.plain(body);
      if (!(plain instanceof Promise)) return this.#deserialized(plain, wider);
      return plain.then(
        (late) => this.#deserialized(late, wider),
        () => UNDECODABLE,
      );
    } catch {
      return UNDECODABLE;
    }
  }

  /** @param wider it holds what this process does not know */
  #deserialized(body: Payload, wider: boolean): Decoded<Value> | Promise<Decoded<Value>> {
    let value: Value;
    try {
      value = this.serializer.deserialize(body) as Value;
    } catch {
      return UNDECODABLE;
    }
    if (wider) value = (this.#shapes as Shapes).shown(value);
    return this.#schema === undefined ? { ok: true, value } : this.#schema.check(value);
  }

  /**
   * A buffered value as a put would write it: of the right size, readable, and as the schema gives it back. Whoever
   * may write to the cache may have made it. Rejects with `SerializationError`, `ValidationError`.
   */
  async decodeBuffered(given: Payload | null, key: string, _version: Version): Promise<Buffered<Value>> {
    if (given === null) return { value: null };
    // The head is taken off even where this process knows of no tags.
    const payload = withoutHead(given);
    if (!this.fits(payload)) {
      throw this.unreadable(key, `it is longer than maxPayloadBytes, ${this.#maxBytes} bytes`);
    }
    const shaped = await this.#shapes?.buffered(payload);
    const { body, other, unknown } = shaped ?? { body: payload, other: false, unknown: [] };
    let value: Value | null | undefined;
    try {
      const plain = isCompressed(body) ? await this.#compression.plain(body) : body;
      value = this.serializer.deserialize(plain) as Value | null | undefined;
    } catch (error) {
      if (error instanceof UnsupportedError) throw error;
      if (parseSigned(payload) !== undefined) {
        const problem = 'what is buffered is signed: this process needs the same `integrity`';
        throw new UnsupportedError(`collection "${this.#collection}": ${problem}`, { key, cause: error });
      }
      throw this.unreadable(key, messageOf(error), error);
    }
    if (value === null || value === undefined) throw this.unreadable(key, `it is ${value}`);
    // A column that is gone since is gone for this write, too.
    if (other) value = (this.#shapes as Shapes).shown(value);
    try {
      const valid = await this.validate(value, key);
      const given = value as Readonly<Record<string, unknown>>;
      const keep = unknown.filter((property) => given[property] === undefined);
      // A value that the schema puts there is not what the writer meant either.
      return keep.length === 0 ? { value: valid } : { value: without(valid, keep), keep };
    } catch (error) {
      if (error instanceof ValidationError) throw error;
      // A schema that throws would throw again.
      throw this.unreadable(key, messageOf(error), error);
    }
  }

  protected unreadable(key: string, problem: string, cause?: unknown): SerializationError {
    const message = `collection "${this.#collection}", key "${key}": a buffered value can't be read: ${problem}`;
    return new SerializationError(message, { cause, collection: this.#collection, key });
  }

  /** The store's row as a hit would show it. Never throws. */
  seen(row: Value): Value | Promise<Value> {
    return this.#schema === undefined ? row : this.#schema.shown(row);
  }

  /** The value as the schema gives it back. Throws `ValidationError`, `InvalidOptionError` for a schema that can't be. */
  validate(value: Value, key: string): Value | Promise<Value> {
    return this.#schema === undefined ? value : this.#schema.validate(value, key);
  }
}

/** False of an unflushed entry: it is newer than any change that a tag was ended for. */
function hasEnded(
  { unflushed }: CacheHit,
  payload: Payload,
  now: TagsNow | typeof WHATEVER_ENDED | undefined,
): boolean {
  if (unflushed === true || now === 'whatever') return false;
  return now === undefined || !isCurrent(payload, now);
}
