import type { Payload } from '../contracts/cache-commands.js';
import { headerLength, restOf, startOf, withHeader } from './header.js';

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

const HEADER = /^.L1([vdbe])([A-Za-z0-9_-]{1,32}\.[A-Za-z0-9_-]{43})~$/;
/** A header is shorter. */
const MAX_HEADER = 96;

export function joinSigned({ body, kind, mac }: SignedPayload): Payload {
  return withHeader(body, `L1${kind}${mac}`);
}

/** `undefined`: it carries no signature. */
export function parseSigned(payload: Payload): SignedPayload | undefined {
  const length = headerLength(payload, 'L1', MAX_HEADER);
  const [, kind, mac] = HEADER.exec(startOf(payload, length)) ?? [];
  return mac === undefined ? undefined : { kind: kind as SignedKind, mac, body: restOf(payload, length) };
}
