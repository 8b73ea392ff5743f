import type { CacheHit, Payload } from '../contracts/cache-commands.js';
import type { Serializer } from '../contracts/serializer.js';
import type { Version } from '../contracts/version.js';
import { Codec, type CodecParts, type Undecoded } from '../values/codec.js';
import { Compression } from '../values/compression.js';
import type { Integrity } from '../values/integrity.js';
import { codecOf } from '../values/signed-codec.js';

/*
 * The payload of a view's entry: a line that says which tokens its tags had before it was loaded, and the generation that
 * gave them; a line of the same for the tags that the load has found; and the value behind `=`, or `-` for `undefined`.
 */

/** The tokens of tags at one time, in the order of their keys, and the generation of the cache that gave them. */
export interface Tokens {
  readonly generation: string;
  readonly tokens: readonly string[];
}

/** Tags that a load has found. */
export interface FoundTags extends Tokens {
  readonly keys: readonly string[];
}

/** An entry whose tags are current, but for those that were found. */
export interface OpenEntry {
  readonly ok: true;
  readonly found: FoundTags | undefined;
  /** `undefined`: so is the value. */
  readonly body: Payload | undefined;
}

/** Why an entry can't be used; `changed`: a tag was replaced. */
export interface Unusable {
  readonly ok: false;
  readonly reason: Undecoded['reason'];
}

export const CHANGED: Unusable = { ok: false, reason: 'changed' };
const UNDECODABLE: Unusable = { ok: false, reason: 'undecodable' };
const EQUALS = 0x3d;

function headOf({ generation, tokens }: Tokens): string {
  return `${generation} ${tokens.join(' ')}\n`;
}

export interface ViewCodecParts<Value> extends Omit<CodecParts<Value>, 'shapes'> {
  readonly integrity: Integrity | undefined;
  readonly keyPrefix: string;
}

/** Views' values to payloads and back. */
export class ViewCodec<Value> {
  readonly serializer: Serializer;
  readonly values: Codec<Value>;
  /** Signs whole payloads, where anything is signed. */
  readonly #payloads: Codec<Payload>;

  constructor({ integrity, keyPrefix, ...parts }: ViewCodecParts<Value>) {
    const { collection, maxBytes, serializer } = parts;
    this.serializer = serializer;
    this.values = new Codec({ ...parts, shapes: undefined });
    const whole: Serializer = {
      name: 'payload',
      encoding: serializer.encoding,
      serialize: (payload) => payload as Payload,
      deserialize: (payload) => payload,
    };
    const plain = { collection, serializer: whole, schema: undefined, maxBytes, shapes: undefined };
    const asItIs = { ...plain, compression: new Compression(undefined, maxBytes) };
    this.#payloads = codecOf(asItIs, integrity, keyPrefix);
  }

  /** Rejects with `SerializationError`. */
  async encode(
    before: Tokens,
    found: FoundTags | undefined,
    value: Value,
    key: string,
    version: Version,
  ): Promise<Payload> {
    const isUndefined = value === undefined;
    const start = `${headOf(before)}${found === undefined ? '' : JSON.stringify(found)}\n${isUndefined ? '-' : '='}`;
    const body = isUndefined ? '' : await this.values.encode(value, key, version);
    const payload =
      this.serializer.encoding === 'utf8'
        ? start + String(body)
        : Buffer.concat([Buffer.from(start), Buffer.from(body as Uint8Array)]);
    return await this.#payloads.encode(payload, key, version);
  }

  /** Opens an entry whose tags have these tokens now. */
  open(hit: CacheHit, key: string, now: Tokens): OpenEntry | Unusable {
    const opened = this.#payloads.decode(hit, key);
    // Whole payloads are neither compressed nor validated.
    if (opened instanceof Promise) return UNDECODABLE;
    if (!opened.ok) return opened;
    const { value: payload } = opened;
    if (payload === null) return UNDECODABLE;
    const head = headOf(now);
    return typeof payload === 'string' ? openText(payload, head) : openBytes(payload, head);
  }
}

function openText(payload: string, head: string): OpenEntry | Unusable {
  if (!payload.startsWith(head)) return CHANGED;
  const end = payload.indexOf('\n', head.length);
  const body = payload[end + 1] === '=' ? payload.slice(end + 2) : undefined;
  return end < 0 ? UNDECODABLE : opened(payload.slice(head.length, end), body);
}

function openBytes(bytes: Uint8Array, head: string): OpenEntry | Unusable {
  const payload = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const start = Buffer.from(head);
  if (!payload.subarray(0, start.length).equals(start)) return CHANGED;
  const end = payload.indexOf('\n', start.length);
  const body = payload[end + 1] === EQUALS ? payload.subarray(end + 2) : undefined;
  return end < 0 ? UNDECODABLE : opened(payload.toString('utf8', start.length, end), body);
}

function opened(line: string, body: Payload | undefined): OpenEntry | Unusable {
  if (line === '') return { ok: true, found: undefined, body };
  try {
    return { ok: true, found: JSON.parse(line) as FoundTags, body };
  } catch {
    return UNDECODABLE;
  }
}
