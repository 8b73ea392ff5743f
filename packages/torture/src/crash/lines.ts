import type { Version } from '@lockstep/core';
import type { Acknowledgement, Read, WriteKind } from './history.js';

/** A write that is about to be made. The number is the process's own. */
export interface Begin {
  readonly type: 'begin';
  readonly number: number;
  readonly kind: WriteKind;
  readonly key: string;
  readonly token: string;
  readonly startUs: number;
}

/** A write was acknowledged. */
export interface End {
  readonly type: 'end';
  readonly number: number;
  readonly ack: Acknowledgement;
}

/** A write was certainly not made. */
export interface Nothing {
  readonly type: 'nothing';
  readonly number: number;
}

/** The outcomes of buffered writes since the last tally. */
export interface Tally {
  readonly type: 'tally';
  readonly counts: Readonly<Record<string, number>>;
}

export interface Sighting extends Read {
  readonly type: 'read';
}

export type Line = Begin | End | Nothing | Sighting | Tally | { readonly type: 'ready' };

/** Each line is one JSON array: thousands arrive in a second. */
export function encodeLine(line: Line): string {
  return `${JSON.stringify(fieldsOf(line))}\n`;
}

function fieldsOf(line: Line): readonly unknown[] {
  switch (line.type) {
    case 'begin':
      return ['b', line.number, line.kind, line.key, line.token, line.startUs];
    case 'end': {
      const { after, cache, coalesced, endUs, seen, store, version } = line.ack;
      return ['e', line.number, endUs, version, store, cache, seen, coalesced, after];
    }
    case 'nothing':
      return ['n', line.number];
    case 'read':
      return ['r', line.key, line.startUs, line.endUs, line.version, line.seen, line.fallback];
    case 'tally':
      return ['t', line.counts];
    case 'ready':
      return ['y'];
  }
}

/** `undefined`: what a process that was killed did not finish. */
export function decodeLine(text: string): Line | undefined {
  const fields = parsed(text);
  if (fields === undefined) return undefined;
  const [type, ...rest] = fields;
  switch (type) {
    case 'b': {
      const [number, kind, key, token, startUs] = rest as [number, WriteKind, string, string, number];
      return { type: 'begin', number, kind, key, token, startUs };
    }
    case 'e': {
      const [number, endUs, version, store, cache, seen, coalesced, after] = rest as [
        number,
        number,
        Version,
        Acknowledgement['store'],
        Acknowledgement['cache'],
        string | null,
        boolean,
        string,
      ];
      return { type: 'end', number, ack: { endUs, version, store, cache, seen, coalesced, after } };
    }
    case 'n':
      return { type: 'nothing', number: rest[0] as number };
    case 'r': {
      const [key, startUs, endUs, version, seen, fallback] = rest as [
        string,
        number,
        number,
        Version,
        string | null,
        boolean,
      ];
      return { type: 'read', key, startUs, endUs, version, seen, fallback };
    }
    case 't':
      return { type: 'tally', counts: rest[0] as Record<string, number> };
    case 'y':
      return { type: 'ready' };
    default:
      return undefined;
  }
}

function parsed(text: string): readonly unknown[] | undefined {
  try {
    const fields: unknown = JSON.parse(text);
    return Array.isArray(fields) ? fields : undefined;
  } catch {
    return undefined;
  }
}
