/**
 * The text of an entry: one grammar, which the client follows here and the scripts in `lua/entry.ts`.
 *
 * | | |
 * | --- | --- |
 * | entry | value, absent value, or hole; whatever else is at a key is none, and counts as empty |
 * | value | `V`, flag, version, stale, payload |
 * | absent value | `A`, flag, version, stale |
 * | flag | `-`; `U` for a buffered write that the store does not have yet: of an odd version |
 * | version | 16 digits; no more than a day ahead of the server's clock in µs, or it is no entry |
 * | stale | 13 digits: staleAt in ms since the epoch, `0` for none |
 * | payload | any bytes |
 * | hole | `H`, or `K` for one of a known absence, `-`, floor, 13 zeros, tail |
 * | floor | as a version, or 9007199254740991: closed, nobody fills it |
 * | tail | lease or nothing, reservation or nothing, up to 256 intents; at most 65,536 bytes |
 * | lease | `L`, token, time |
 * | reservation | `R`, token |
 * | intent | `I`, token (`0:`, none, for those that ran out), time, `1` if others overlapped it, else `0` |
 * | token | its length in bytes, 1 to 200 without leading zeros, `:`, the bytes |
 * | time | 13 digits: when it runs out, in ms since the epoch; no more than four days ahead of the server's clock, or the hole is no entry |
 *
 * This is format 1. A text that begins with `L`, a number from 2 to 9999 without leading zeros, and `:` is an entry
 * of the format of that number: readers pass it by, and no command changes it. A release reads a format before
 * any release writes it.
 */
import {
  type CacheHead,
  type CacheHit,
  NO_VERSION,
  type Payload,
  type PayloadEncoding,
  type Version,
} from '@lockstep/core';
import { isTail } from './hole-text.js';

export const HEADER_LENGTH = 31;
const MAX_STALE_AT = 9_999_999_999_999;
const KNOWN_ABSENT: CacheHit = { version: NO_VERSION, payload: null, staleAtMs: 0 };

/** The floor of a closed hole, as text. */
export const CLOSED_TEXT = '9007199254740991';

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

/** The meaning of an entry's text. */
export interface Decoded {
  readonly state: 'value' | 'hole';
  readonly version: Version;
  readonly payload: Payload | null;
  readonly staleAtMs: number;
  readonly knownAbsent: boolean;
  readonly unflushed: boolean;
}

/**
 * `undefined`: not an entry of ours, or of a format that is not known. Versions and times are judged by who knows the
 * clock.
 */
export function decode(text: Stored, encoding: PayloadEncoding): Decoded | undefined {
  const header = typeof text === 'string' ? Buffer.from(text.slice(0, HEADER_LENGTH)) : text;
  if (header.length < HEADER_LENGTH) return undefined;
  const state = header[0];
  const unflushed = header[1] === U;
  if (!unflushed && header[1] !== DASH) return undefined;
  const version = versionOf(header);
  const staleAtMs = digits(header, 18, HEADER_LENGTH);
  if (version < 0 || staleAtMs < 0 || version > Number.MAX_SAFE_INTEGER) return undefined;
  if (unflushed && version % 2 === 0) return undefined;
  if (state === V) {
    const payload = payloadOf(text, encoding);
    return { state: 'value', version, payload, staleAtMs, knownAbsent: false, unflushed };
  }
  if (state === A) {
    if (text.length > HEADER_LENGTH) return undefined;
    return { state: 'value', version, payload: null, staleAtMs, knownAbsent: false, unflushed };
  }
  if ((state !== H && state !== K) || unflushed || staleAtMs !== 0) return undefined;
  if (text.length > HEADER_LENGTH && !isTail(text, HEADER_LENGTH)) return undefined;
  return { state: 'hole', version, payload: null, staleAtMs, knownAbsent: state === K, unflushed };
}

const [V, A, H, K, U] = [0x56, 0x41, 0x48, 0x4b, 0x55];
const [DASH, ZERO] = [0x2d, 0x30];

/** In halves: V8 adds up digits of numbers below 2³⁰ several times as fast. Negative: not all are digits. */
function versionOf(header: Buffer): Version {
  const high = digits(header, 2, 10);
  const low = digits(header, 10, 18);
  return high < 0 || low < 0 ? -1 : high * HALF + low;
}

/** The number that the digits from there to there make; -1: not all are digits. */
function digits(header: Buffer, from: number, to: number): number {
  let value = 0;
  for (let at = from; at < to; at++) {
    const digit = (header[at] as number) - ZERO;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value;
}

function payloadOf(text: Stored, encoding: PayloadEncoding): Payload {
  if (typeof text === 'string') return text.slice(HEADER_LENGTH);
  return encoding === 'utf8' ? text.toString('utf8', HEADER_LENGTH) : text.subarray(HEADER_LENGTH);
}

/** What the header of an entry's text tells; `undefined`: a miss. */
export function headOf(header: string): CacheHead | undefined {
  const hit = hitOf(header, 'utf8');
  return hit && { version: hit.version, staleAtMs: hit.staleAtMs, absent: hit.payload === null };
}

/** The hit that a reader may return from an entry's text; `undefined`: a miss. */
export function hitOf(text: Stored | null, encoding: PayloadEncoding): CacheHit | undefined {
  if (text === null) return undefined;
  const entry = decode(text, encoding);
  if (entry === undefined) return undefined;
  if (entry.state === 'hole') return entry.knownAbsent ? KNOWN_ABSENT : undefined;
  const { version, payload, staleAtMs } = entry;
  return entry.unflushed ? { version, payload, staleAtMs, unflushed: true } : { version, payload, staleAtMs };
}
