import { type Acked, byKey, endOf, type History, isAcked, replaces, type Write } from '../history.js';

/**
 * Acknowledged writes whose effect is gone. At the end a row is what some write left that no acknowledged one
 * follows; and nothing that reads before it writes stood on a row that had been replaced before it began.
 */
export function lostWrites({ writes, rows }: History, foreignSlackUs: number): string[] {
  const found: string[] = [];
  const ofKey = byKey(writes);
  for (const [key, row] of rows) {
    const own = ofKey.get(key) ?? [];
    const replacing = own.filter(replaces);
    const problem =
      row === undefined
        ? lostRow(key, replacing, foreignSlackUs)
        : lostBehind(key, row.token, replacing, foreignSlackUs);
    if (problem !== undefined) found.push(problem);
    found.push(...stoodOnReplaced(own, foreignSlackUs));
  }
  return found;
}

/** The row is one write's: nothing acknowledged may have begun after its end. */
function lostBehind(
  key: string,
  token: string,
  replacing: readonly Write[],
  slackUs: number,
): string | undefined {
  const writer = replacing.find((write) => write.token === token);
  if (writer === undefined) return `${key}: nobody wrote the row ${token}`;
  const later = replacing.find((write) => isAcked(write) && follows(write, writer, slackUs));
  return later === undefined ? undefined : `${key}: ${nameOf(later)} is gone, the row is ${token}`;
}

/** There is no row: some deletion must not be followed by an acknowledged put. */
function lostRow(key: string, replacing: readonly Write[], slackUs: number): string | undefined {
  const puts = replacing.filter((write) => write.ack !== undefined && write.ack.seen !== null);
  const deletes = replacing.filter(({ kind }) => kind === 'delete');
  const last = deletes.find((deletion) => !puts.some((put) => follows(put, deletion, slackUs)));
  if (last !== undefined || puts.length === 0) return undefined;
  return `${key}: ${nameOf(puts.at(-1) as Write)} is gone, there is no row`;
}

/** Updates and increments that were made on a row which an acknowledged write had replaced before. */
function stoodOnReplaced(writes: readonly Write[], slackUs: number): string[] {
  const found: string[] = [];
  const byToken = new Map(writes.filter(({ token }) => token !== '').map((write) => [write.token, write]));
  const replacing = writes.filter((write): write is Acked => isAcked(write) && replaces(write));
  const own = new Latest(replacing.filter(({ foreign }) => !foreign));
  const foreign = new Latest(replacing.filter((write) => write.foreign));
  for (const write of writes) {
    if (!isAcked(write) || write.foreign) continue;
    if (write.kind !== 'update' && write.kind !== 'increment') continue;
    const base = write.kind === 'update' ? write.ack.after : write.ack.seen;
    const stoodOn = base === null ? undefined : byToken.get(base);
    if (stoodOn === undefined) continue;
    // Something was begun after the base was over, and was over before this began.
    const candidates = [own.beforeUs(write.startUs), foreign.beforeUs(write.startUs - slackUs)];
    const missed = candidates.find((each) => each !== undefined && follows(each, stoodOn, slackUs));
    if (missed !== undefined) {
      found.push(`${write.key}: ${nameOf(write)} was made on ${base}, ${nameOf(missed)} is gone`);
    }
  }
  return found;
}

/** Finds, among the writes that were over before a moment, the one that began last. */
class Latest {
  readonly #byEnd: readonly Acked[];
  readonly #best: readonly Acked[];

  constructor(writes: readonly Acked[]) {
    this.#byEnd = [...writes].sort((a, b) => a.ack.endUs - b.ack.endUs);
    let best: Acked | undefined;
    this.#best = this.#byEnd.map((write) => {
      if (best === undefined || write.startUs > best.startUs) best = write;
      return best;
    });
  }

  beforeUs(us: number): Acked | undefined {
    let low = 0;
    let high = this.#byEnd.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#byEnd[middle] as Acked).ack.endUs < us) low = middle + 1;
      else high = middle;
    }
    return this.#best[low - 1];
  }
}

/** True when `later` began after `earlier` was over; beyond the slack, where just one of them is foreign. */
function follows(later: Write, earlier: Write, foreignSlackUs: number): boolean {
  const slackUs = later.foreign === earlier.foreign ? 0 : foreignSlackUs;
  return later.startUs > endOf(earlier) + slackUs;
}

function nameOf({ ack, foreign, kind, token }: Write): string {
  const store = foreign ? 'foreign' : (ack?.store ?? 'unanswered');
  return `the ${store} ${kind} ${token}@${ack?.version ?? '?'}`;
}
