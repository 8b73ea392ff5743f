import { type Acked, byKey, type History, isAcked } from '../history.js';

/**
 * Writes out of order: of two acknowledged writes of one key, the one that began after the other was over has
 * the higher version; no version stands for two values; no row has one that was given for a row which the next change
 * of its statement replaced; and the row's is the highest.
 */
export function reorderedWrites({ reads, rows, writes }: History, foreignSlackUs: number): string[] {
  const found: string[] = [];
  const readsOf = byKey(reads);
  for (const [key, list] of byKey(writes)) {
    const acked = list.filter((write): write is Acked => isAcked(write) && write.ack.version > 0);
    const own = acked.filter(({ foreign }) => !foreign);
    const foreign = acked.filter((write) => write.foreign);
    found.push(...against(key, own, own, 0), ...against(key, foreign, foreign, 0));
    found.push(...against(key, own, foreign, foreignSlackUs), ...against(key, foreign, own, foreignSlackUs));
    const tokens = new Map<number, string | null>();
    // Until a relay adopts a foreign write without a version, its row shows the old one.
    const unstamped = list.some((write) => write.foreign && write.ack?.version === 0);
    const passed = new Set(acked.filter(isPassed).map(({ ack }) => ack.version));
    const sightings = [
      ...acked.filter((write) => !isPassed(write)).map(({ ack }) => ack),
      ...(unstamped ? [] : (readsOf.get(key) ?? [])).filter(({ version }) => version > 0),
    ];
    for (const { seen, version } of sightings) {
      if (passed.has(version)) found.push(`${key}: ${seen} has ${version}, which no row may have`);
      const other = tokens.get(version);
      if (other === undefined) tokens.set(version, seen);
      else if (other !== seen) found.push(`${key}: ${version} is both ${other} and ${seen}`);
    }
    const row = rows.get(key);
    const highest = highestOf(acked);
    if (row !== undefined && highest !== undefined && row.version < highest.ack.version) {
      found.push(`${key}: the row is at ${row.version}, a ${highest.kind} was told ${highest.ack.version}`);
    }
  }
  return found;
}

/** An update whose own row another one of its statement has changed again. */
function isPassed({ ack, kind, token }: Acked): boolean {
  return kind === 'update' && ack.coalesced && ack.seen === token;
}

/** Later ones that have no higher version than one of the earlier that was over before they began. */
function against(key: string, earlier: readonly Acked[], later: readonly Acked[], slackUs: number): string[] {
  const found: string[] = [];
  const ended = [...earlier].sort((a, b) => a.ack.endUs - b.ack.endUs);
  const begun = [...later].sort((a, b) => a.startUs - b.startUs);
  let next = 0;
  let highest: Acked | undefined;
  for (const write of begun) {
    for (; (ended[next]?.ack.endUs ?? Number.POSITIVE_INFINITY) + slackUs < write.startUs; next++) {
      const candidate = ended[next] as Acked;
      if (highest === undefined || candidate.ack.version > highest.ack.version) highest = candidate;
    }
    if (highest !== undefined && write.ack.version <= highest.ack.version) {
      found.push(
        `${key}: ${write.ack.store} ${write.kind} ${write.token} got ${write.ack.version}, after ` +
          `${highest.ack.store} ${highest.kind} ${highest.token} had got ${highest.ack.version}`,
      );
    }
  }
  return found;
}

function highestOf(writes: readonly Acked[]): Acked | undefined {
  let highest: Acked | undefined;
  for (const write of writes) {
    if (highest === undefined || write.ack.version > highest.ack.version) highest = write;
  }
  return highest;
}
