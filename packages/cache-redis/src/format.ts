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
import type { DecodeAt } from './replies/read-command.js';

type DecodeAs<Found> = Readonly<Record<PayloadEncoding, DecodeAt<Found>>>;

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
 * The entry that the bytes from there to there are; `undefined`: none of ours, or of a format that is not known. Versions
 * and times are judged by who knows the clock.
 */
export function decode(
  bytes: Buffer,
  encoding: PayloadEncoding,
  from = 0,
  to = bytes.length,
): Decoded | undefined {
  const end = from + HEADER_LENGTH;
  if (to < end) return undefined;
  const state = bytes[from];
  const unflushed = bytes[from + 1] === U;
  if (!unflushed && bytes[from + 1] !== DASH) return undefined;
  const version = versionOf(bytes, from + 2);
  const staleAtMs = digits(bytes, from + 18, end);
  if (version < 0 || staleAtMs < 0 || version > Number.MAX_SAFE_INTEGER) return undefined;
  if (unflushed && version % 2 === 0) return undefined;
  if (state === V) {
    const payload = encoding === 'utf8' ? bytes.toString('utf8', end, to) : bytes.subarray(end, to);
    return { state: 'value', version, payload, staleAtMs, knownAbsent: false, unflushed };
  }
  if (state === A) {
    if (to > end) return undefined;
    return { state: 'value', version, payload: null, staleAtMs, knownAbsent: false, unflushed };
  }
  if ((state !== H && state !== K) || unflushed || staleAtMs !== 0) return undefined;
  if (to > end && !isTail(bytes.subarray(end, to))) return undefined;
  return { state: 'hole', version, payload: null, staleAtMs, knownAbsent: state === K, unflushed };
}

const [V, A, H, K, U] = [0x56, 0x41, 0x48, 0x4b, 0x55];
const [DASH, ZERO] = [0x2d, 0x30];

/** In halves: V8 adds up digits of numbers below 2³⁰ several times as fast. Negative: not all are digits. */
function versionOf(bytes: Buffer, from: number): Version {
  const high = digits(bytes, from, from + 8);
  const low = digits(bytes, from + 8, from + 16);
  return high < 0 || low < 0 ? -1 : high * HALF + low;
}

/** The number that the digits from there to there make; -1: not all are digits. */
function digits(bytes: Buffer, from: number, to: number): number {
  let value = 0;
  for (let at = from; at < to; at++) {
    const digit = (bytes[at] as number) - ZERO;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value;
}

/** What the header of an entry's text tells; `undefined`: a miss. */
export function headOf(header: Buffer): CacheHead | undefined {
  const hit = hitOf(header, 'binary');
  return hit && { version: hit.version, staleAtMs: hit.staleAtMs, absent: hit.payload === null };
}

/** The hit that a reader may return from an entry's text, from there to there; `undefined`: a miss. */
export function hitOf(
  bytes: Buffer,
  encoding: PayloadEncoding,
  from = 0,
  to = bytes.length,
): CacheHit | undefined {
  const entry = decode(bytes, encoding, from, to);
  if (entry === undefined) return undefined;
  if (entry.state === 'hole') return entry.knownAbsent ? KNOWN_ABSENT : undefined;
  const { version, payload, staleAtMs } = entry;
  return entry.unflushed ? { version, payload, staleAtMs, unflushed: true } : { version, payload, staleAtMs };
}

/** {@link decode} and {@link hitOf}, as reads take them. Bytes are a part of what was received, text is a copy. */
const KEEPS = { keeps: true };
export const ENTRIES: DecodeAs<Decoded> = {
  utf8: (bytes, from, to) => decode(bytes, 'utf8', from, to),
  binary: Object.assign(
    (bytes: Buffer, from: number, to: number) => decode(bytes, 'binary', from, to),
    KEEPS,
  ),
};
export const HITS: DecodeAs<CacheHit> = {
  utf8: (bytes, from, to) => hitOf(bytes, 'utf8', from, to),
  binary: Object.assign((bytes: Buffer, from: number, to: number) => hitOf(bytes, 'binary', from, to), KEEPS),
};
