/**
 * The text of an entry: a fixed-width ASCII header, then the rest.
 *
 * | at | width | what |
 * | --- | --- | --- |
 * | 0 | 1 | state: `V` value, `A` absent value, `H` hole, `K` hole of a known absence |
 * | 1 | 1 | flags: `U` for a buffered write that the store does not have yet, else `-` |
 * | 2 | 16 | version, or the hole's floor, in decimal |
 * | 18 | 13 | staleAt in ms since the epoch, `0` for none |
 * | 31 | | the payload's bytes; of a hole its lease, reservation and intents (`lua/hole.ts`) |
 */
import { type CacheHit, NO_VERSION, type Payload, type PayloadEncoding, type Version } from '@lockstep/core';

const HEADER_LENGTH = 31;
const MAX_STALE_AT = 9_999_999_999_999;
const KNOWN_ABSENT: CacheHit = { version: NO_VERSION, payload: null, staleAtMs: 0 };

/** An entry as a server returns it, in the encoding that was asked for. */
export type Stored = string | Buffer;

/** Half of a version's digits: V8 makes text of numbers below 2³⁰ several times as fast. */
const HALF = 1e8;

export function versionText(version: Version): string {
  const high = Math.trunc(version / HALF);
  return String(high).padStart(8, '0') + String(version - high * HALF).padStart(8, '0');
}

export function staleText(staleAtMs: number): string {
  return String(Math.min(Math.max(0, Math.trunc(staleAtMs)), MAX_STALE_AT)).padStart(13, '0');
}

/** The text of a value; bytes when the payload is bytes. */
export function valueText(version: Version, payload: Payload | null, staleAtMs: number): Stored {
  const state = payload === null ? 'A' : 'V';
  const header = `${state}-${versionText(version)}${staleText(staleAtMs)}`;
  if (payload === null) return header;
  if (typeof payload === 'string') return header + payload;
  const text = Buffer.allocUnsafe(HEADER_LENGTH + payload.length);
  text.write(header, 'latin1');
  text.set(payload, HEADER_LENGTH);
  return text;
}

/** What an entry's text says. */
export interface Decoded {
  readonly state: 'value' | 'hole';
  readonly version: Version;
  readonly payload: Payload | null;
  readonly staleAtMs: number;
  readonly knownAbsent: boolean;
  readonly unflushed: boolean;
}

/** `undefined`: not an entry of ours. */
export function decode(text: Stored, encoding: PayloadEncoding): Decoded | undefined {
  if (text.length < HEADER_LENGTH) return undefined;
  const header = typeof text === 'string' ? text : text.toString('latin1', 0, HEADER_LENGTH);
  const state = header.charCodeAt(0);
  const version = Number(header.slice(2, 18));
  const staleAtMs = Number(header.slice(18, HEADER_LENGTH));
  const unflushed = header.charCodeAt(1) === U;
  if (!Number.isSafeInteger(version) || !Number.isSafeInteger(staleAtMs)) return undefined;
  switch (state) {
    case V:
      return {
        state: 'value',
        version,
        payload: payloadOf(text, encoding),
        staleAtMs,
        knownAbsent: false,
        unflushed,
      };
    case A:
      return { state: 'value', version, payload: null, staleAtMs, knownAbsent: false, unflushed };
    case H:
    case K:
      return { state: 'hole', version, payload: null, staleAtMs: 0, knownAbsent: state === K, unflushed };
    default:
      return undefined;
  }
}

const [V, A, H, K, U] = [0x56, 0x41, 0x48, 0x4b, 0x55];

function payloadOf(text: Stored, encoding: PayloadEncoding): Payload {
  if (typeof text === 'string') return text.slice(HEADER_LENGTH);
  const bytes = text.subarray(HEADER_LENGTH);
  return encoding === 'utf8' ? bytes.toString('utf8') : bytes;
}

/** What a reader may return of an entry's text; `undefined`: a miss. */
export function hitOf(text: Stored | null, encoding: PayloadEncoding): CacheHit | undefined {
  if (text === null) return undefined;
  const entry = decode(text, encoding);
  if (entry === undefined) return undefined;
  if (entry.state === 'hole') return entry.knownAbsent ? KNOWN_ABSENT : undefined;
  const { version, payload, staleAtMs } = entry;
  return entry.unflushed ? { version, payload, staleAtMs, unflushed: true } : { version, payload, staleAtMs };
}
