import type { CacheHit, Payload } from '../contracts/cache-commands.js';
import type { Version } from '../contracts/version.js';
import { type Buffered, Codec, type CodecParts, type Decoded } from './codec.js';
import type { Integrity } from './integrity.js';
import { joinSigned, parseSigned, type SignedKind, type SignedPayload } from './signed-payload.js';
import type { TagsNow, WHATEVER_ENDED } from './tag-heads.js';

const FORGED = { ok: false, reason: 'integrity' } as const;
const ABSENT = { ok: true, value: null } as const;

interface SignedCodecParts<Value> extends CodecParts<Value> {
  readonly integrity: Integrity;
  readonly keyPrefix: string;
}

/** A codec whose payloads prove that they were made with one of the keys, for this key of the cache and this version. */
class SignedCodec<Value> extends Codec<Value> {
  readonly #integrity: Integrity;
  readonly #keyPrefix: string;

  constructor(parts: SignedCodecParts<Value>) {
    super(parts);
    this.#integrity = parts.integrity;
    this.#keyPrefix = parts.keyPrefix;
  }

  override encode(
    value: Value,
    key: string,
    version: Version | undefined,
    mark?: string,
  ): Payload | Promise<Payload> {
    const kind = version === undefined ? 'b' : 'v';
    const body = this.serialize(value, key, mark);
    return body instanceof Promise
      ? body.then((late) => this.#sign(kind, key, version, late))
      : this.#sign(kind, key, version, body);
  }

  /** Bytes without a value: a deletion has to prove itself as well. */
  override encodeAbsent(key: string, version: Version | undefined): Payload {
    const body = this.serializer.encoding === 'binary' ? new Uint8Array() : '';
    return this.#sign(version === undefined ? 'e' : 'd', key, version, body);
  }

  override decode(
    hit: CacheHit,
    key: string,
    now?: TagsNow | typeof WHATEVER_ENDED,
  ): Decoded<Value> | Promise<Decoded<Value>> {
    const signed = hit.payload === null ? undefined : parseSigned(hit.payload);
    if (signed === undefined) return this.#integrity.acceptsUnsigned ? super.decode(hit, key, now) : FORGED;
    if (!this.#holds(signed, key, hit.version)) return FORGED;
    if (isDeletion(signed.kind)) return ABSENT;
    return super.decode({ ...hit, payload: signed.body }, key, now);
  }

  override async decodeBuffered(
    payload: Payload | null,
    key: string,
    version: Version,
  ): Promise<Buffered<Value>> {
    const signed = payload === null ? undefined : parseSigned(payload);
    if (signed === undefined) {
      if (this.#integrity.acceptsUnsigned) return await super.decodeBuffered(payload, key, version);
      throw this.unreadable(key, 'it is not signed');
    }
    if (!this.#holds(signed, key, version)) throw this.unreadable(key, 'its signature is not ours');
    return isDeletion(signed.kind) ? { value: null } : await super.decodeBuffered(signed.body, key, version);
  }

  #sign(kind: SignedKind, key: string, version: Version | undefined, body: Payload): Payload {
    return joinSigned({ kind, mac: this.#integrity.mac(this.#head(kind, key, version), body), body });
  }

  #holds({ body, kind, mac }: SignedPayload, key: string, version: Version): boolean {
    const covered = kind === 'v' || kind === 'd' ? version : undefined;
    return this.#integrity.verify(mac, this.#head(kind, key, covered), body);
  }

  #head(kind: SignedKind, key: string, version: Version | undefined): string {
    return `${kind} ${version ?? ''} ${this.#keyPrefix}${key}`;
  }
}

/** A codec whose payloads are signed where anything is. */
export function codecOf<Value>(
  parts: CodecParts<Value>,
  integrity: Integrity | undefined,
  keyPrefix: string,
): Codec<Value> {
  return integrity === undefined ? new Codec(parts) : new SignedCodec({ ...parts, integrity, keyPrefix });
}

function isDeletion(kind: SignedKind): boolean {
  return kind === 'd' || kind === 'e';
}
