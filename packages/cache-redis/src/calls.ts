import {
  type CacheCommand,
  type CacheHit,
  type CacheReply,
  type LeaseReply,
  NO_VERSION,
  type Payload,
  type PayloadEncoding,
} from '@lockstep/core';
import { hitOf, type Stored, staleText, valueText, versionText } from './format.js';

/** One call of the script, on one key. */
export class ScriptCall {
  readonly kind: CacheCommand['kind'] | 'unflushed' | 'notices' | 'probe' | 'kept';
  readonly key: string;
  readonly args: readonly Stored[];
  /** How its reply comes back. */
  readonly encoding: PayloadEncoding;

  constructor(kind: ScriptCall['kind'], key: string, args: readonly Stored[], encoding: PayloadEncoding) {
    this.kind = kind;
    this.key = key;
    this.args = args;
    this.encoding = encoding;
  }
}

/** The call that makes a command's transition. */
export function scriptCall(command: CacheCommand): ScriptCall {
  const encoding = command.kind === 'lease' ? command.encoding : 'utf8';
  return new ScriptCall(command.kind, command.key, argsOf(command), encoding);
}

function argsOf(command: CacheCommand): readonly Stored[] {
  switch (command.kind) {
    case 'reserve':
      return [command.token, millis(command.holeTtlMs)];
    case 'intend':
      return [command.token, millis(command.deadlineMs), millis(command.holeTtlMs)];
    case 'put':
      return Array.of(
        millis(command.ttlMs),
        valueText(command.version, command.payload, command.staleAtMs),
        command.token === undefined
          ? millis(command.holeTtlMs)
          : `${millis(command.holeTtlMs)} ${command.token}`,
      );
    case 'refresh':
      return [
        versionText(command.version),
        millis(command.ttlMs),
        valueText(command.version, command.payload, command.staleAtMs),
        command.unchanged === undefined ? '' : textOf(command.unchanged),
      ];
    case 'invalidate':
      return [versionText(command.version), millis(command.holeTtlMs), command.holeOnEmpty ? '1' : '0'];
    case 'lease':
      return [command.token, millis(command.leaseMs), millis(command.holeTtlMs)];
    case 'fill':
      return [
        command.token,
        versionText(command.version),
        millis(command.ttlMs),
        command.payload === null ? '0' : '1',
        command.payload === null ? '' : valueText(command.version, command.payload, command.staleAtMs),
      ];
    case 'release':
      return [command.token];
    case 'buffer':
      return [millis(command.notAfterMs), command.payload === null ? 'A' : 'V', bytes(command.payload ?? '')];
    case 'flushed':
      return [
        versionText(command.version),
        command.outcome,
        millis(command.ttlMs),
        staleText(command.staleAtMs),
        millis(command.holeTtlMs),
      ];
    case 'tag':
      return [command.token, millis(command.ttlMs)];
  }
}

function textOf({ payload, staleAtMs, version }: CacheHit): Stored {
  return valueText(version, payload, staleAtMs);
}

function bytes(payload: Payload): Stored {
  return typeof payload === 'string'
    ? payload
    : Buffer.from(payload.buffer, payload.byteOffset, payload.length);
}

/** The script's reply where another release's entry stands. */
const FOREIGN = 'foreign';

/** Replies to puts, one for all: a call brings hundreds. */
const PUT_REPLIES = {
  stored: { kind: 'put', outcome: 'stored' },
  superseded: { kind: 'put', outcome: 'superseded' },
  floored: { kind: 'put', outcome: 'floored' },
  [FOREIGN]: { kind: 'put', outcome: FOREIGN },
} as const;

/** The server counts whole milliseconds. */
function millis(ms: number): string {
  return String(Math.max(0, Math.ceil(ms)));
}

/** A script's reply as the contract's; an `Error` when it is none that the script gives. */
export function replyOf(command: CacheCommand, reply: unknown): CacheReply | Error {
  if (typeof reply !== 'string' && !Buffer.isBuffer(reply)) return unexpected(command, reply);
  if (command.kind === 'lease') return leaseReply(reply, command.encoding) ?? unexpected(command, reply);
  const text = reply.toString();
  switch (command.kind) {
    case 'reserve':
    case 'intend':
      if (text === FOREIGN) return { kind: 'reserved', known: NO_VERSION, refused: FOREIGN };
      if (text.startsWith('M')) return { kind: 'reserved', known: Number(text.slice(1)), refused: 'full' };
      if (!text.startsWith('U')) return { kind: 'reserved', known: Number(text) };
      return { kind: 'reserved', known: Number(text.slice(1)), unflushed: true };
    case 'put':
      if (text === 'stored' || text === 'superseded' || text === 'floored' || text === FOREIGN) {
        return PUT_REPLIES[text];
      }
      break;
    case 'refresh':
      if (text === 'stored' || text === 'refused') return { kind: 'refresh', outcome: text };
      if (text === FOREIGN) return { kind: 'refresh', outcome: 'refused' };
      break;
    case 'invalidate':
      if (text === 'floored' || text === 'nothing' || text === FOREIGN) {
        return { kind: 'invalidate', outcome: text };
      }
      if (text.startsWith('S')) {
        return { kind: 'invalidate', outcome: 'floored', superseded: Number(text.slice(1)) };
      }
      break;
    case 'fill':
      if (text === 'f') return { kind: 'fill', outcome: 'filled' };
      if (text === 'l' || text === FOREIGN) return { kind: 'fill', outcome: 'lost' };
      if (text.startsWith('b')) return { kind: 'fill', outcome: 'below-floor', floor: Number(text.slice(1)) };
      break;
    case 'release':
      return { kind: 'release', held: text === 'held' };
    case 'buffer':
      if (text === 'unfit' || text === 'late') return { kind: 'buffer', outcome: text };
      if (text === FOREIGN) return { kind: 'buffer', outcome: 'unfit' };
      if (isVersion(text)) return { kind: 'buffer', outcome: 'buffered', version: Number(text) };
      break;
    case 'flushed':
      if (text === 'cleared' || text === 'kept' || text === 'nothing') {
        return { kind: 'flushed', outcome: text };
      }
      if (text === FOREIGN) return { kind: 'flushed', outcome: 'kept' };
      break;
    case 'tag':
      if (text === FOREIGN) return { kind: 'tag', token: undefined };
      if (text.startsWith('t')) return { kind: 'tag', token: text.slice(1) };
      break;
  }
  return unexpected(command, reply);
}

/** The reply to a buffered write that was taken. */
export function isVersion(reply: unknown): boolean {
  return typeof reply === 'string' && /^\d{16}$/.test(reply);
}

function leaseReply(reply: Stored, encoding: PayloadEncoding): LeaseReply | undefined {
  const hit = hitOf(typeof reply === 'string' ? Buffer.from(reply) : reply, encoding);
  if (hit !== undefined) return { kind: 'lease', outcome: 'hit', hit };
  const text = reply.toString();
  if (text === FOREIGN) return { kind: 'lease', outcome: FOREIGN };
  const floor = Number(text.slice(1, 17));
  switch (text[0]) {
    case 'g':
      return text.length > 17
        ? { kind: 'lease', outcome: 'granted', floor, behind: true }
        : { kind: 'lease', outcome: 'granted', floor };
    case 'p':
      return { kind: 'lease', outcome: 'pass', floor };
    case 'b':
      return { kind: 'lease', outcome: 'busy', floor, remainingMs: Number(text.slice(17)) };
    default:
      return undefined;
  }
}

function unexpected(command: CacheCommand, reply: unknown): Error {
  return new Error(`${command.kind}: unexpected reply ${String(reply).slice(0, 64)}`);
}
