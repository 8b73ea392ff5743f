import type { Payload } from '../contracts/cache-commands.js';

/*
 * Headers in front of payloads have one form: `~`, the kind, the content, `~`. In front of bytes 0xC1 takes the place
 * of the first `~`. No JSON begins with the one, and no MessagePack or BSON with the other.
 */

/** The kinds of headers: of a compressed body, a shape, a signature, tags. */
type Kind = 'Z1' | 'S1' | 'L1' | 'T1';

/** The payload with a header in front. `head`: its kind and content. */
export function withHeader(body: Payload, head: `${Kind}${string}`): Payload {
  return typeof body === 'string'
    ? `~${head}~${body}`
    : Buffer.concat([Buffer.from(`\u00c1${head}~`, 'latin1'), body]);
}

/** True of a payload that begins as a header of this kind does. Hot path: mostly one comparison. */
export function hasHeader(payload: Payload, kind: Kind): boolean {
  if (typeof payload === 'string') return payload.charCodeAt(0) === 0x7e && payload.startsWith(kind, 1);
  return payload[0] === 0xc1 && payload[1] === kind.charCodeAt(0) && payload[2] === 0x31;
}

/** The length of a payload's header of this kind; `0`: it has none, or one that is longer than `most`. */
export function headerLength(payload: Payload, kind: Kind, most: number): number {
  if (!hasHeader(payload, kind)) return 0;
  const length = 1 + (typeof payload === 'string' ? payload.indexOf('~', 3) : payload.indexOf(0x7e, 3));
  return length > most ? 0 : length;
}

/** The first characters of a payload. */
export function startOf(payload: Payload, length: number): string {
  if (typeof payload === 'string') return payload.slice(0, length);
  return Buffer.from(payload.buffer, payload.byteOffset, length).toString('latin1');
}

/** The payload from a place on. */
export function restOf(payload: Payload, from: number): Payload {
  return typeof payload === 'string' ? payload.slice(from) : payload.subarray(from);
}
