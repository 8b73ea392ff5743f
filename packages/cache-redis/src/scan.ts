import { type PayloadEncoding, type ScannedEntry, type ScanOptions, systemClock } from '@lockstep/core';
import { sleep } from '@lockstep/core/kit';
import { bounded } from './bounded.js';
import type { Dispatch } from './dispatch.js';
import { ENTRIES } from './format.js';
import type { Topology } from './topology/topology.js';

/** Keys that one SCAN looks at, and the most that one read asks for. */
const BATCH = 250;

export interface ScanParts {
  readonly topology: Topology;
  readonly dispatch: Dispatch;
  readonly encoding: PayloadEncoding;
  readonly timeoutMs: number;
}

/**
 * Walks the keys of each primary in bounded steps. SCAN knows nothing of `keyPrefix`: it is put before and taken off
 * here. A position is a primary's number, how many there were, and its cursor: each cursor stays good for ever.
 */
export async function* scanEntries(
  { dispatch, encoding, timeoutMs, topology }: ScanParts,
  prefix: string,
  { at, from, pauseMs = 0 }: ScanOptions = {},
): AsyncGenerator<ScannedEntry> {
  const { keyPrefix } = topology;
  const pattern = `${literal(keyPrefix + prefix)}*`;
  const servers = topology.primaries();
  const start = startOf(from, servers.length);
  for (const [number, server] of servers.entries()) {
    if (number < start.server) continue;
    let cursor = number === start.server ? start.cursor : '0';
    const size = at === undefined ? 0 : await bounded(server.dbsize(), timeoutMs);
    do {
      const [next, found] = await bounded(
        server.scan(cursor, 'MATCH', pattern, 'COUNT', BATCH, 'TYPE', 'string'),
        timeoutMs,
      );
      cursor = next;
      // A table that shrinks makes a SCAN return more than it was asked for.
      for (let start = 0; start < found.length; start += BATCH) {
        const keys = found.slice(start, start + BATCH).map((key) => key.slice(keyPrefix.length));
        yield* entriesAt(dispatch, keys, encoding);
      }
      const share = cursor === '0' ? 1 : shareOf(cursor, size);
      const position =
        cursor === '0' ? `${number + 1}/${servers.length}:0` : `${number}/${servers.length}:${cursor}`;
      at?.(position, (number + share) / servers.length);
      if (pauseMs > 0 && cursor !== '0') await sleep(systemClock, pauseMs);
    } while (cursor !== '0');
  }
}

/** From the beginning where the position is none, or of another number of primaries. */
function startOf(
  from: string | undefined,
  servers: number,
): { readonly server: number; readonly cursor: string } {
  const [, server, of, cursor] = /^(\d{1,4})\/(\d{1,4}):(\d{1,20})$/.exec(from ?? '') ?? [];
  if (cursor === undefined || Number(of) !== servers) return { server: 0, cursor: '0' };
  return { server: Number(server), cursor };
}

/** A cursor counts with its bits reversed, over a table whose size is a power of two. */
function shareOf(cursor: string, size: number): number {
  const bits = Math.max(2, Math.ceil(Math.log2(Math.max(1, size))));
  const low = BigInt(cursor) & ((1n << BigInt(bits)) - 1n);
  const reversed = [...low.toString(2).padStart(bits, '0')].reverse().join('');
  return Number.parseInt(reversed, 2) / 2 ** bits;
}

async function* entriesAt(
  dispatch: Dispatch,
  keys: readonly string[],
  encoding: PayloadEncoding,
): AsyncGenerator<ScannedEntry> {
  const entries = await dispatch.read(keys, ENTRIES[encoding]);
  for (const [index, entry] of entries.entries()) {
    if (entry instanceof Error) throw entry;
    const key = keys[index];
    if (entry === undefined || key === undefined) continue;
    const { version, state, payload } = entry;
    yield entry.unflushed
      ? { key, version, state, payload, unflushed: true }
      : { key, version, state, payload };
  }
}

/** The pattern that matches this text alone. */
function literal(text: string): string {
  return text.replace(/[\\*?[\]^-]/g, '\\$&');
}
