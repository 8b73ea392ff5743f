import type { Payload } from '../contracts/cache-commands.js';

/**
 * A value, a deletion, and both as they are buffered. The cache gives a buffered write its version, so that its mac
 * can't cover it; it stays with the entry once that is flushed.
 */
export type SignedKind = 'v' | 'd' | 'b' | 'e';

export interface SignedPayload {
  readonly kind: SignedKind;
  readonly mac: string;
  /** The serializer's output; empty for a deletion. */
  readonly body: Payload;
}

/** No JSON starts like this, nor MessagePack or BSON like its binary form, whose first byte is another one. */
const HEADER = /^[~\u00c1]L1([vdbe])([A-Za-z0-9_-]{1,32}\.[A-Za-z0-9_-]{43})~/;
const TEXT_START = '~L1';
const BINARY_START = '\u00c1L1';
/** A header is shorter. */
const MAX_HEADER = 96;

export function joinSigned({ body, kind, mac }: SignedPayload): Payload {
  if (typeof body === 'string') return `${TEXT_START}${kind}${mac}~${body}`;
  return Buffer.concat([Buffer.from(`${BINARY_START}${kind}${mac}~`, 'latin1'), body]);
}

/** `undefined`: it carries no signature. */
export function parseSigned(payload: Payload): SignedPayload | undefined {
  const text = typeof payload === 'string';
  const start = text ? payload.slice(0, MAX_HEADER) : latin1(payload);
  if (!start.startsWith(text ? TEXT_START : BINARY_START)) return undefined;
  const [header, kind, mac] = HEADER.exec(start) ?? [];
  if (header === undefined || mac === undefined) return undefined;
  const body = text ? payload.slice(header.length) : payload.subarray(header.length);
  return { kind: kind as SignedKind, mac, body };
}

function latin1({ buffer, byteLength, byteOffset }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, Math.min(byteLength, MAX_HEADER)).toString('latin1');
}
