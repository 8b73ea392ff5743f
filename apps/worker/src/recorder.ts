import type {
  AnnouncedPart,
  AnnouncedSettings,
  Announcement,
  CancelTimer,
  Figures,
  Fleet,
  NearStatus,
} from '@lockstep/core';
import { systemClock } from '@lockstep/core';
import type { Health, WorkerStatus } from './health.js';
import { add, difference, EMPTY, hitRateOf, missesOf, type Rates, ratesOf } from './rates.js';

/** How often it looks, in ms. */
export const SAMPLE_MS = 2_000;
/** Ten minutes. */
const MAX_POINTS = 300;

/** One look at the fleet; rates are per second. */
export interface Point extends Rates {
  readonly atMs: number;
  readonly lagP99Ms: number;
  readonly oldestMs: number | null;
  readonly pending: number | null;
  readonly jobs: number | null;
  readonly deadLetters: number | null;
  readonly unflushed: number;
  /** Near entries of all processes, and the reads that they answered. */
  readonly nearItems: number;
  readonly nearHitsPerSecond: number;
  /** Processes whose breaker is not closed. */
  readonly breakers: number;
  readonly processes: number;
}

/** A process that is alive, without its collections. */
export interface ProcessState extends Omit<Announcement, 'parts' | 'facts' | 'omitted'> {
  readonly rates: Rates;
  readonly isOwn: boolean;
}

/** A collection or a view, over all processes. */
export interface PartState {
  readonly kind: AnnouncedPart['kind'];
  readonly name: string;
  readonly settings: AnnouncedSettings;
  /** Settings in which processes differ. */
  readonly differing: readonly string[];
  readonly figures: Figures;
  readonly hitRate: number | null;
  readonly processes: number;
  /** Processes that buffer its writes now; `null`: its writes are never buffered. */
  readonly buffering: number | null;
  readonly unflushed: number | null;
  /** The near entries of all processes; `null`: there are none. */
  readonly near: NearState | null;
}

/** Near entries, over all processes; counts are since each of them began. */
export interface NearState extends Omit<NearStatus, 'collection' | 'live'> {
  readonly processes: number;
  /** Processes that may serve them now: their cache's messages are proven to arrive. One that nobody reads from does not ask. */
  readonly live: number;
}

export interface State {
  readonly status: WorkerStatus;
  readonly processes: readonly ProcessState[];
  readonly parts: readonly PartState[];
}

interface Seen {
  readonly announcement: Announcement;
  readonly total: Figures;
  readonly nearHits: number;
  readonly nearHitsPerSecond: number;
  readonly rates: Rates;
}

/** The last minutes of the fleet, seen through what its processes announce; asked for once in two seconds. */
export class Recorder {
  readonly #fleet: Fleet;
  readonly #health: Health;
  readonly #listeners = new Set<(point: Point, state: State) => void>();
  #seen = new Map<string, Seen>();
  #cancel: CancelTimer | undefined;
  #looking: Promise<void> | undefined;
  #stopped = false;
  points: readonly Point[] = [];
  state: State | undefined;

  constructor(fleet: Fleet, health: Health) {
    this.#fleet = fleet;
    this.#health = health;
  }

  start(): void {
    this.#looking = this.#look().finally(() => {
      if (!this.#stopped) this.#cancel = systemClock.schedule(() => this.start(), SAMPLE_MS);
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel?.();
    await this.#looking;
  }

  listen(listener: (point: Point, state: State) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async #look(): Promise<void> {
    const [status, announced] = await Promise.all([
      this.#health.status().catch(() => undefined),
      // A cache that is away tells nobody who is alive; this process is.
      this.#fleet.list().catch(() => [this.#fleet.own()]),
    ]);
    if (status === undefined) return;
    this.#note(announced);
    const own = this.#fleet.own().id;
    const point = pointOf(status, [...this.#seen.values()]);
    const processes = [...this.#seen.values()].map(({ announcement, rates }): ProcessState => {
      const { facts: _, omitted: __, parts: ___, ...rest } = announcement;
      return { ...rest, rates, isOwn: announcement.id === own };
    });
    this.state = { status, processes, parts: partsOf(announced, status.unflushed) };
    this.points = [...this.points.slice(1 - MAX_POINTS), point];
    for (const listener of this.#listeners) listener(point, this.state);
  }

  /** Rates are those between the last two announcements of a process. */
  #note(announced: readonly Announcement[]): void {
    const seen = new Map<string, Seen>();
    for (const announcement of announced) {
      const total = announcement.parts.reduce((sum, { figures }) => add(sum, figures), EMPTY);
      const before = this.#seen.get(announcement.id);
      const elapsedMs = announcement.atMs - (before?.announcement.atMs ?? announcement.startedAtMs);
      if (before !== undefined && elapsedMs <= 0) {
        seen.set(announcement.id, before);
        continue;
      }
      const rates = ratesOf(difference(total, before?.total ?? EMPTY), elapsedMs);
      const nearHits = announcement.parts.reduce((sum, { near }) => sum + (near?.hits ?? 0), 0);
      const added = Math.max(0, nearHits - (before?.nearHits ?? 0));
      const nearHitsPerSecond = (added * 1_000) / Math.max(elapsedMs, 1);
      seen.set(announcement.id, { announcement, total, rates, nearHits, nearHitsPerSecond });
    }
    this.#seen = seen;
  }
}

function pointOf(status: WorkerStatus, seen: readonly Seen[]): Point {
  const feeds = status.feeds.flatMap((feed) => ('error' in feed ? [] : [feed]));
  const known = feeds.length === status.feeds.length;
  const { queue } = status;
  const relays = seen.flatMap(({ announcement: { relay } }) => relay ?? []);
  const sum = (rate: (rates: Rates) => number): number =>
    seen.reduce((all, { rates }) => all + rate(rates), 0);
  const hits = sum(({ hitsPerSecond }) => hitsPerSecond);
  const reads = sum(({ readsPerSecond }) => readsPerSecond);
  return {
    atMs: Date.now(),
    readsPerSecond: reads,
    hitsPerSecond: hits,
    loadsPerSecond: sum(({ loadsPerSecond }) => loadsPerSecond),
    hitRate: reads === 0 ? null : hits / reads,
    writesPerSecond: sum(({ writesPerSecond }) => writesPerSecond),
    updatedPerSecond: sum(({ updatedPerSecond }) => updatedPerSecond),
    invalidatedPerSecond: sum(({ invalidatedPerSecond }) => invalidatedPerSecond),
    deferredPerSecond: sum(({ deferredPerSecond }) => deferredPerSecond),
    bufferedPerSecond: sum(({ bufferedPerSecond }) => bufferedPerSecond),
    lagP99Ms: Math.max(0, ...relays.map(({ lagMs }) => lagMs.p99)),
    oldestMs: known ? Math.max(0, ...feeds.map(({ oldestMs }) => oldestMs)) : null,
    pending: known ? feeds.reduce((all, { pending }) => all + pending, 0) : null,
    jobs: queue === null ? null : queue.waiting + queue.active + queue.delayed,
    deadLetters: queue === null ? null : queue.dead,
    unflushed: Object.values(status.unflushed).reduce((all, keys) => all + keys, 0),
    nearItems: seen.reduce((all, { announcement }) => all + nearItemsOf(announcement), 0),
    nearHitsPerSecond: seen.reduce((all, one) => all + one.nearHitsPerSecond, 0),
    breakers: seen.filter(({ announcement }) => announcement.cache.breaker !== 'closed').length,
    processes: seen.length,
  };
}

function nearItemsOf({ parts }: Announcement): number {
  return parts.reduce((all, { near }) => all + (near?.items ?? 0), 0);
}

function partsOf(
  announced: readonly Announcement[],
  unflushed: Readonly<Record<string, number>>,
): PartState[] {
  const byName = new Map<string, AnnouncedPart[]>();
  for (const part of announced.flatMap(({ parts }) => parts)) {
    const name = `${part.kind} ${part.name}`;
    byName.set(name, [...(byName.get(name) ?? []), part]);
  }
  return [...byName.values()].map((parts): PartState => {
    const [first] = parts as [AnnouncedPart];
    const figures = parts.reduce((sum, part) => add(sum, part.figures), EMPTY);
    const buffers = parts.flatMap(({ buffer }) => buffer ?? []);
    return {
      kind: first.kind,
      name: first.name,
      settings: first.settings,
      differing: differingOf(parts),
      figures,
      hitRate: hitRateOf(figures.hits, missesOf(figures)),
      processes: parts.length,
      buffering: buffers.length === 0 ? null : buffers.filter((state) => state !== 'synchronous').length,
      unflushed: unflushed[first.name] ?? null,
      near: nearOf(parts.flatMap(({ near }) => near ?? [])),
    };
  });
}

function nearOf(nears: readonly Omit<NearStatus, 'collection'>[]): NearState | null {
  if (nears.length === 0) return null;
  const sum = (name: 'items' | 'bytes' | 'hits' | 'misses' | 'dropped'): number =>
    nears.reduce((all, near) => all + near[name], 0);
  return {
    ...{ items: sum('items'), bytes: sum('bytes'), hits: sum('hits'), misses: sum('misses') },
    dropped: sum('dropped'),
    processes: nears.length,
    live: nears.filter(({ live }) => live).length,
  };
}

function differingOf(parts: readonly AnnouncedPart[]): string[] {
  const names = new Set(parts.flatMap(({ settings }) => Object.keys(settings)));
  return [...names].filter((name) => new Set(parts.map(({ settings }) => settings[name])).size > 1);
}
