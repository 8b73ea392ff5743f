import { type Acked, byKey, type History, isAcked, type Read, type Write } from '../history.js';

/** Lines of one key at most: its last ones. */
const MAX_LINES = 200;

/** What was done with each key that the findings name, one line for each call, in the order in which they began. */
export function timelinesOf(
  findings: readonly string[],
  { reads, rows, writes }: History,
): Record<string, readonly string[]> {
  const [readsOf, writesOf] = [byKey(reads), byKey(writes)];
  const keys = new Set(findings.map((found) => found.slice(0, found.indexOf(':'))));
  const timelines: Record<string, readonly string[]> = {};
  for (const key of keys) {
    const calls = [...(readsOf.get(key) ?? []), ...(writesOf.get(key) ?? [])];
    const lines = calls.sort((a, b) => a.startUs - b.startUs).map(lineOf);
    const row = rows.get(key);
    const last = row === undefined ? 'no row' : `${row.token} counter ${row.counter} @${row.version}`;
    if (lines.length > 0) timelines[key] = [...lines.slice(-MAX_LINES), `at the end: ${last}`];
  }
  return timelines;
}

function lineOf(call: Read | Write): string {
  if ('kind' in call) return isAcked(call) ? ackedLine(call) : `${begun(call)} never answered`;
  const { endUs, fallback, seen, startUs, version } = call;
  return `${ms(startUs)}–${ms(endUs)} read ${seen ?? 'nothing'} @${version}${fallback ? ', from the store alone' : ''}`;
}

function ackedLine(write: Acked): string {
  const { cache, coalesced, endUs, seen, store, version } = write.ack;
  const merged = coalesced ? ', coalesced' : '';
  return `${begun(write, endUs)} ${seen ?? 'nothing'} @${version}, store ${store}, cache ${cache}${merged}`;
}

function begun({ foreign, kind, startUs, token }: Write, endUs?: number): string {
  const end = endUs === undefined ? '' : ms(endUs);
  return `${ms(startUs)}–${end} ${foreign ? 'foreign ' : ''}${kind} ${token}`.trimEnd();
}

const ms = (us: number): string => (us / 1_000).toFixed(2);
