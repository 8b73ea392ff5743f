import { type PayloadEncoding, type ScannedEntry, systemClock } from '@lockstep/core';
import { sleep } from '@lockstep/core/kit';
import { bounded } from './bounded.js';
import type { Dispatch } from './dispatch.js';
import { decode } from './format.js';
import type { Topology } from './topology/topology.js';

/** Keys that one SCAN looks at, and the most that one read asks for. */
const BATCH = 250;

/** Walks the keys of each primary in bounded steps. SCAN knows nothing of `keyPrefix`: it is put before and taken off here. */
export async function* scanEntries(
  topology: Topology,
  dispatch: Dispatch,
  prefix: string,
  encoding: PayloadEncoding,
  { pauseMs, timeoutMs }: { readonly pauseMs: number; readonly timeoutMs: number },
): AsyncGenerator<ScannedEntry> {
  const { keyPrefix } = topology;
  const pattern = `${literal(keyPrefix + prefix)}*`;
  for (const server of topology.primaries()) {
    let cursor = '0';
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
      if (pauseMs > 0 && cursor !== '0') await sleep(systemClock, pauseMs);
    } while (cursor !== '0');
  }
}

async function* entriesAt(
  dispatch: Dispatch,
  keys: readonly string[],
  encoding: PayloadEncoding,
): AsyncGenerator<ScannedEntry> {
  const texts = await dispatch.read(keys, encoding);
  for (const [index, text] of texts.entries()) {
    if (text instanceof Error) throw text;
    const entry = text === null ? undefined : decode(text, encoding);
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
