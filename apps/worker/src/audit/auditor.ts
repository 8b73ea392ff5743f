import {
  type CancelTimer,
  type Clock,
  type CollectionInfo,
  type Lockstep,
  systemClock,
  type ViewInfo,
} from '@lockstep/core';
import type { Logger } from 'pino';
import { bounded } from '../bounded.js';
import { type Comparison, compare } from '../inspect/compare.js';
import { type Candidate, Candidates } from './candidates.js';
import { ConsistencyCounts, SCALES_MS, type ScaleConsistency } from './consistency.js';
import { type Look, type Offender, Offenders } from './offenders.js';
import { isSettled } from './settled.js';

export { SCALES_MS } from './consistency.js';

/** One round a second. */
const ROUND_MS = 1_000;
/** Entries that are watched at once, until they are mended or five minutes are over. */
const MAX_SUSPECTS = 500;
/** Nobody is called an offender sooner: a writer may still be between its commit and the cache. */
const NAME_AFTER_MS = 5_000;
/** How often a suspect is looked at: each second at first. */
const LOOK_EVERY_MS = [
  { untilMs: 10_000, everyMs: 1_000 },
  { untilMs: 60_000, everyMs: 5_000 },
  { untilMs: 300_000, everyMs: 30_000 },
] as const;
const LAST_MS = 300_000;
const VIEW_TIMEOUT_MS = 10_000;
/** A view that is different because a write has not reached it yet changes within this time. */
const VIEW_SETTLE_MS = 1_000;

/** What the auditor found so far, in short. */
export interface Consistency {
  /** Entries that were looked at since the start. */
  readonly checked: number;
  /** Of the last hour. */
  readonly scales: readonly ScaleConsistency[];
  /** Entries that differ now and are watched: most are on their way. */
  readonly suspects: number;
  /** Offenders that are wrong still. */
  readonly open: number;
}

export interface AuditorOptions {
  readonly lockstep: Lockstep;
  readonly perSecond: number;
  readonly logger: Logger;
  readonly clock?: Clock;
}

/** An entry that differed when it was looked at first. */
interface Suspect {
  readonly part: CollectionInfo | ViewInfo;
  readonly key: string;
  readonly kind: string;
  /** The versions that were seen first. */
  readonly entryVersion: number | null;
  readonly rowVersion: number | null;
  readonly firstSeenMs: number;
  /** By the clock's `monotonic`, as the times below. */
  readonly sinceMs: number;
  nextMs: number;
  /** The scales that it has outlived. */
  outlived: number;
  isNamed: boolean;
  readonly history: Look[];
}

/**
 * Looks whether the cache has what the store has: at keys that the relay has just dealt with, and at live entries, so
 * many in a second. A difference is watched before it counts: it is late once it has outlived a time scale, which its
 * first sight begins, and it is named once nothing is on its way any more that would mend it.
 */
export class Auditor {
  readonly #options: AuditorOptions;
  readonly #clock: Clock;
  readonly #candidates: Candidates;
  readonly #counts = new ConsistencyCounts();
  readonly #offenders = new Offenders();
  readonly #suspects = new Map<string, Suspect>();
  #cancel: CancelTimer | undefined;
  #round: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(options: AuditorOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#candidates = new Candidates(options.lockstep, this.#clock);
  }

  start(): void {
    this.#candidates.start();
    this.#next();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel?.();
    await Promise.all([this.#round, this.#candidates.stop()]);
  }

  get status(): Consistency {
    return {
      checked: this.#counts.checked,
      scales: this.#counts.scales(this.#clock.now()),
      suspects: this.#suspects.size,
      open: this.#offenders.open.length,
    };
  }

  /** Since the start, by scale. */
  get late(): readonly number[] {
    return this.#counts.late;
  }

  get offenders(): readonly Offender[] {
    return this.#offenders.list;
  }

  #next(): void {
    this.#cancel = this.#clock.schedule(() => {
      this.#round = this.round().finally(() => {
        if (!this.#stopped) this.#next();
      });
    }, ROUND_MS);
  }

  /** One round. Servers that do not answer are nothing to judge by: it passes, and the next one tries again. */
  async round(): Promise<void> {
    // A cache that is not used serves nobody anything wrong.
    if (!this.#options.lockstep.status().enabled) return;
    await this.#watch().catch(() => undefined);
    const taken = this.#candidates.take(this.#options.perSecond);
    const fresh = taken.filter((each) => !this.#suspects.has(nameOf(each)));
    for (const [part, own] of Map.groupBy(fresh, (each) => each.part)) {
      // A view is a query of its own for each.
      const some = 'store' in part ? own : own.slice(0, Math.ceil(this.#options.perSecond / 10));
      await this.#judge(part, some).catch(() => undefined);
    }
  }

  async #judge(part: Candidate['part'], candidates: readonly Candidate[]): Promise<void> {
    const looks = await this.#compared(
      part,
      candidates.map(({ key }) => key),
    );
    this.#counts.noteChecked(looks.length, this.#clock.now());
    for (const found of looks) {
      const look = this.#lookOf(found);
      if (!isWrong(found.verdict)) {
        this.#offenders.mended(part.name, found.key, look);
        continue;
      }
      if (this.#suspects.size >= MAX_SUSPECTS) continue;
      const nowMs = this.#clock.monotonic();
      this.#suspects.set(nameOf({ part, key: found.key }), {
        part,
        key: found.key,
        kind: found.verdict,
        entryVersion: look.entry,
        rowVersion: look.row,
        firstSeenMs: look.atMs,
        sinceMs: nowMs,
        nextMs: nowMs + ROUND_MS,
        outlived: 0,
        isNamed: false,
        history: [look],
      });
    }
  }

  /** Looks at the suspects again whose time has come. */
  async #watch(): Promise<void> {
    const nowMs = this.#clock.monotonic();
    const due = [...this.#suspects.values()].filter(({ nextMs }) => nextMs <= nowMs);
    if (due.length === 0) return;
    // First what is on its way, then what is wrong: what arrives in between is right by then.
    const oldest = nowMs - Math.min(...due.map(({ sinceMs }) => sinceMs));
    const settled = oldest >= NAME_AFTER_MS ? await isSettled(this.#options.lockstep) : undefined;
    for (const [part, own] of Map.groupBy(due, (suspect) => suspect.part)) {
      const looks = await this.#compared(
        part,
        own.map(({ key }) => key),
      );
      for (const [i, suspect] of own.entries()) {
        const found = looks[i];
        if (found !== undefined) this.#watched(suspect, found, nowMs, settled);
      }
    }
  }

  #watched(
    suspect: Suspect,
    found: Comparison,
    nowMs: number,
    settled: ((part: Candidate['part'], ageMs: number) => boolean) | undefined,
  ): void {
    const { key, part } = suspect;
    const ageMs = nowMs - suspect.sinceMs;
    const look = this.#lookOf(found);
    suspect.history.push(look);
    if (suspect.history.length > 64) suspect.history.splice(1, 1);
    if (!isStill(suspect, found)) {
      this.#suspects.delete(nameOf(suspect));
      this.#offenders.mended(part.name, key, look);
      return;
    }
    while (suspect.outlived < SCALES_MS.length && ageMs >= (SCALES_MS[suspect.outlived] ?? 0)) {
      this.#counts.noteLate(suspect.outlived, this.#clock.now());
      suspect.outlived += 1;
    }
    const isOver = ageMs >= LAST_MS;
    if (ageMs >= NAME_AFTER_MS && (isOver || settled?.(part, ageMs) === true)) this.#name(suspect);
    if (isOver) this.#suspects.delete(nameOf(suspect));
    const { everyMs } = LOOK_EVERY_MS.find(({ untilMs }) => ageMs < untilMs) ?? { everyMs: LAST_MS };
    const scaleMs = SCALES_MS[suspect.outlived];
    suspect.nextMs = Math.min(nowMs + everyMs, scaleMs === undefined ? Infinity : suspect.sinceMs + scaleMs);
  }

  #name(suspect: Suspect): void {
    const { firstSeenMs, history, key, kind, part } = suspect;
    const offender = { collection: part.name, key, kind, firstSeenMs, mendedMs: null, history: [...history] };
    const isNew = this.#offenders.note(offender);
    if (!isNew || suspect.isNamed) return;
    suspect.isNamed = true;
    const { entryVersion, rowVersion } = suspect;
    this.#options.logger.error(
      { collection: part.name, key, kind, entryVersion, rowVersion },
      'an entry is not what the store has, and nothing is on its way that would mend it',
    );
  }

  /** Position by position. */
  async #compared(part: Candidate['part'], keys: readonly string[]): Promise<readonly Comparison[]> {
    if ('store' in part) {
      await part.open();
      return await compare(this.#options.lockstep, part, keys);
    }
    const found: Comparison[] = [];
    for (const key of keys) found.push(await viewComparison(part, key));
    return found;
  }

  #lookOf({ entry, row, verdict }: Comparison): Look {
    return { atMs: this.#clock.now(), verdict, entry: entry?.version ?? null, row: row?.version ?? null };
  }
}

/** Loads beside the cache. A view has no versions that would tell what is older. */
async function viewComparison(view: ViewInfo, key: string): Promise<Comparison> {
  const found = view.paramsOf(key);
  const none = { key, entry: undefined, row: undefined };
  if (found === undefined) return { ...none, verdict: 'not cached' };
  const comparing = view.calls.verify(found.params, { settleMs: VIEW_SETTLE_MS, timeoutMs: VIEW_TIMEOUT_MS });
  const { outcome } = await bounded(view.name, VIEW_TIMEOUT_MS, comparing);
  return {
    ...none,
    verdict: outcome === 'different' ? 'different' : outcome === 'absent' ? 'not cached' : 'in step',
  };
}

function nameOf({ key, part }: Pick<Suspect, 'key' | 'part'>): string {
  return part.keyPrefix + key;
}

function isWrong(verdict: Comparison['verdict']): boolean {
  return verdict === 'stale' || verdict === 'different' || verdict === 'ahead';
}

/** The same entry is wrong for the same reason: a later write that is on its way is a suspicion of its own. */
function isStill({ entryVersion, kind, rowVersion }: Suspect, { entry, row, verdict }: Comparison): boolean {
  if (!isWrong(verdict)) return false;
  if (kind === 'stale' && rowVersion !== null) return (entry?.version ?? 0) < rowVersion;
  return (
    verdict === kind && (entry?.version ?? null) === entryVersion && (row?.version ?? null) === rowVersion
  );
}
