import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { withinCacheTime } from '../cache/cache-time.js';
import type { CancelTimer } from '../contracts/clock.js';
import type { Announcement, Fleet } from '../contracts/fleet.js';
import type { NearStatus } from '../contracts/near.js';
import type { RelayStatus } from '../contracts/relay.js';
import type { LockstepStatus } from '../contracts/status.js';
import { announcementText, parseAnnouncement } from './announcement.js';
import type { EngineContext } from './context.js';
import type { AnnounceSettings } from './options.js';

/** A process that lives for a shorter time, a script, is not announced. */
const FIRST_MS = 1_000;
/** A process that has missed so many intervals is not listed any more. */
const MISSED_INTERVALS = 3;
const MAX_PROCESSES = 200;
const MAX_CAUSE_LENGTH = 200;
/** How long the end of a process waits for the cache. */
const LEAVE_MS = 500;

export interface FleetParts extends Pick<EngineContext, 'adapter' | 'announced' | 'clock' | 'events'> {
  /** False: nothing is sent, since nothing was asked of the cache yet. */
  readonly isConnected: () => boolean;
  /** The start of the keys that belong to no collection. */
  readonly ownPrefix: string;
  readonly relay: () => RelayStatus | undefined;
  readonly near: () => readonly NearStatus[];
  readonly queue: string | null;
  readonly settings: AnnounceSettings;
  readonly status: () => LockstepStatus;
  readonly timeoutMs: number;
}

/** Says in the cache that this process is alive, and reads what others say. A failure disturbs nobody: it passes with the next one. */
export class Announcements implements Fleet {
  readonly #parts: FleetParts;
  readonly #board: string;
  readonly #id = randomUUID();
  readonly #startedAtMs: number;
  readonly #facts = new Map<string, () => unknown>();
  #breaker: Pick<Announcement['cache'], 'breaker' | 'cause'> = { breaker: 'closed' };
  #cancel: CancelTimer | undefined;
  #posting: Promise<void> | undefined;
  #over = false;

  constructor(parts: FleetParts) {
    this.#parts = parts;
    this.#board = `${parts.ownPrefix}notices`;
    this.#startedAtMs = parts.clock.now();
    parts.events.on('breaker', ({ cause, state }) => {
      this.#breaker = cause === undefined ? { breaker: state } : { breaker: state, cause };
    });
  }

  /** Called with the first collection. */
  start(): void {
    const { adapter, settings } = this.#parts;
    if (this.#over || this.#cancel !== undefined || !settings.enabled || adapter.notices === undefined)
      return;
    this.#next(FIRST_MS);
  }

  #next(delayMs: number): void {
    this.#cancel = this.#parts.clock.schedule(() => {
      this.#posting = this.#post().finally(() => {
        this.#posting = undefined;
        if (!this.#over) this.#next(this.#parts.settings.intervalMs);
      });
    }, delayMs);
  }

  async #post(): Promise<void> {
    const { adapter, isConnected, settings } = this.#parts;
    const { notices } = adapter;
    if (notices === undefined || !isConnected()) return;
    try {
      const lasts = { ttlMs: settings.intervalMs * MISSED_INTERVALS, limit: MAX_PROCESSES };
      const text = announcementText(this.own());
      await this.#bounded(notices.post(this.#board, this.#id, text, lasts));
    } catch {
      // The cache is away: its breaker says so.
    }
  }

  own(): Announcement {
    const { adapter, announced, near, queue, relay, settings, status } = this.#parts;
    const { enabled, switchedOff } = status();
    const { breaker, cause } = this.#breaker;
    const facts = Object.fromEntries([...this.#facts].map(([name, fact]) => [name, fact()]));
    return {
      id: this.#id,
      name: settings.name ?? hostname(),
      host: hostname(),
      pid: process.pid,
      node: process.versions.node,
      startedAtMs: this.#startedAtMs,
      atMs: this.#parts.clock.now(),
      intervalMs: settings.intervalMs,
      cache: {
        name: adapter.name,
        enabled,
        switchedOff,
        breaker,
        ...(cause === undefined ? {} : { cause: cause.slice(0, MAX_CAUSE_LENGTH) }),
      },
      queue,
      relay: relayOf(relay()),
      parts: announced.list(near()),
      omitted: announced.omitted,
      facts,
    };
  }

  async list(): Promise<readonly Announcement[]> {
    const own = this.own();
    const { notices } = this.#parts.adapter;
    if (notices === undefined) return [own];
    const texts = await this.#bounded(notices.list(this.#board));
    const others = texts.slice(0, MAX_PROCESSES).flatMap((text) => parseAnnouncement(text) ?? []);
    return [own, ...others.filter(({ id }) => id !== this.#id)];
  }

  describe(name: string, facts: () => unknown): () => void {
    this.#facts.set(name, facts);
    return () => {
      if (this.#facts.get(name) === facts) this.#facts.delete(name);
    };
  }

  /** Takes back what was said, so that nobody looks for a process that has ended in order. */
  async end(): Promise<void> {
    this.#over = true;
    this.#cancel?.();
    const { adapter, isConnected } = this.#parts;
    const { notices } = adapter;
    if (this.#cancel === undefined || notices === undefined || !isConnected()) return;
    const leaving = (async () => {
      await this.#posting;
      await notices.remove(this.#board, this.#id);
    })();
    await this.#bounded(leaving, LEAVE_MS).catch(() => undefined);
  }

  #bounded<T>(answer: Promise<T>, ms = this.#parts.timeoutMs): Promise<T> {
    return withinCacheTime(this.#parts.clock, answer, ms);
  }
}

function relayOf(status: RelayStatus | undefined): Announcement['relay'] {
  if (status === undefined) return null;
  const { floored, handled, lagMs, queued, running } = status;
  return { running, handled, floored, queued, lagMs };
}
