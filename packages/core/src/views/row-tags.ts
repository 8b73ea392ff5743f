import { createHash } from 'node:crypto';
import { MAX_TTL_MS } from '../collection/settings.js';
import type { CacheHit } from '../contracts/cache-commands.js';
import type { CacheOutcome } from '../contracts/outcome.js';
import { NO_VERSION } from '../contracts/version.js';
import { tagInvalidation } from '../feed/invalidations.js';
import { type EndedTags, parseEnded, UNTOLD, withEnded } from '../protocol/ended.js';
import { tokenOf } from '../protocol/tags.js';
import type { EngineContext } from '../runtime/context.js';
import { marked, type TagsNow } from '../values/tag-heads.js';
import { Generations } from './generations.js';

/** How long a writer goes by what was told of the list before. An older mark is as right, and may cost its readers a miss. */
const MARK_MS = 1_000;
/** How often a tag is tried to be added to a list that others add to, before the whole list is ended. */
const MAX_TRIES = 10;
/** The names of tags that are remembered, with their hashes. */
const MAX_HASHES = 1_000;
/** 48 bits: two tags that share a name cost a miss. */
const HASH_LENGTH = 8;

export interface RowTagsOptions
  extends Pick<EngineContext, 'activity' | 'cache' | 'clock' | 'handover' | 'nextToken'> {
  /** The cache's key of the list. */
  readonly key: string;
  /** The names of a row's tags. Throws where one has none. */
  readonly namesOf: (row: Readonly<Record<string, unknown>>) => readonly string[];
}

/**
 * The tags of a collection's rows. Those that were ended are one list in the cache (`protocol/ended.ts`): a reader asks
 * for it beside the row, whatever the row's tags are, which it cannot know before; to end a tag is to add it there.
 */
export class RowTags {
  readonly key: string;
  readonly #options: RowTagsOptions;
  readonly #generations: Generations;
  readonly #hashes = new Map<string, string>();
  /** The list as it was told last, for a load or a write that begins afterwards. */
  #known: TagsNow | undefined;
  #knownAtMs = Number.NEGATIVE_INFINITY;
  #asking = false;
  /** The last text of the list that was parsed: mostly there is no other. */
  #text: string | undefined;
  #now: TagsNow | undefined;
  /** Tags that the next change of the list adds. */
  #ending = new Set<string>();
  #next: Promise<CacheOutcome> | undefined;
  #adding: Promise<unknown> = Promise.resolve();

  constructor(options: RowTagsOptions) {
    this.key = options.key;
    this.#options = options;
    this.#generations = new Generations(options.cache.trust);
  }

  /** The tags of a row, as entries note them. */
  of(row: unknown): readonly string[] {
    try {
      return this.#options
        .namesOf(row as Readonly<Record<string, unknown>>)
        .map((name) => this.#hashOf(name));
    } catch {
      return [UNTOLD];
    }
  }

  /**
   * The tags that are ended now, by what the cache said at `key`, where the list was asked for beside an entry.
   * `undefined`: there is no list, and no entry is current. `unproven`: its primary has no recent proof.
   */
  now(list: CacheHit | undefined, nowMs?: number): TagsNow | 'unproven' | undefined {
    const text = tokenOf(list);
    if (text === undefined) return undefined;
    const generation = this.#generations.of([this.key], nowMs);
    if (generation === undefined) return 'unproven';
    if (text === this.#text && this.#now?.generation === generation) return this.#now;
    return this.#parsed(text, generation);
  }

  /** As `now`, once the probe that is due has its answer. */
  async proven(list: CacheHit | undefined): Promise<TagsNow | undefined> {
    await this.#generations.prove([this.key]);
    const now = this.now(list);
    return now === 'unproven' ? undefined : now;
  }

  #parsed(text: string, generation: string): TagsNow | undefined {
    const list = parseEnded(text);
    if (list === undefined) return undefined;
    this.#text = text;
    this.#now = marked(generation, list);
    return this.#now;
  }

  /**
   * Asks for the list, for a load or a write that begins afterwards; begins a list where there is none. The generation is
   * asked for first: a failover in between may bring an earlier list back. `undefined`: it can't be told now. Does not reject.
   */
  async ask(): Promise<TagsNow | undefined> {
    const { cache, clock, nextToken } = this.#options;
    const key = this.key;
    const askedAtMs = clock.monotonic();
    try {
      const keys = [key];
      const generation = this.#generations.of(keys) ?? (await this.#generations.prove(keys));
      if (generation === undefined) return undefined;
      const text =
        tokenOf(await cache.read(key, 'utf8')) ??
        (await cache.run({ kind: 'tag', key, token: nextToken(), ttlMs: MAX_TTL_MS })).token;
      const now = text === undefined ? undefined : this.#parsed(text, generation);
      if (askedAtMs >= this.#knownAtMs) {
        this.#known = now;
        this.#knownAtMs = askedAtMs;
      }
      return now;
    } catch {
      return undefined;
    }
  }

  /** True when the list, asked after this call, is what it was. Does not reject. */
  async isStill({ mark }: TagsNow): Promise<boolean> {
    return (await this.ask())?.mark === mark;
  }

  /** The mark that a write which begins now notes, as the list was told last; `undefined`: it was not. */
  mark(): string | undefined {
    const { activity, clock } = this.#options;
    if (!this.#asking && clock.monotonic() - this.#knownAtMs >= MARK_MS) {
      this.#asking = true;
      const asked = this.ask().then(() => {
        this.#asking = false;
      });
      activity.track(asked);
    }
    return this.#known?.mark;
  }

  /** Ends the tag of this name, by whichever way is left. Never rejects. */
  end(name: string): Promise<CacheOutcome> {
    this.#ending.add(this.#hashOf(name));
    this.#next ??= this.#adding.then(() => {
      const tags = this.#ending;
      this.#ending = new Set();
      this.#next = undefined;
      const adding = this.#add(tags);
      this.#adding = adding;
      return adding;
    });
    return this.#next;
  }

  async #add(tags: ReadonlySet<string>): Promise<CacheOutcome> {
    const { cache, handover } = this.#options;
    const key = this.key;
    try {
      for (let tries = 0; tries < MAX_TRIES; tries++) {
        const held = await cache.read(key, 'utf8');
        // Without a list no entry is current.
        if (held === undefined) return 'invalidated';
        const list: EndedTags | undefined = parseEnded(tokenOf(held) ?? '');
        if (list === undefined) break;
        const lifetime = { ttlMs: MAX_TTL_MS, staleAtMs: 0 };
        const longer = { kind: 'refresh', key, version: NO_VERSION, payload: withEnded(list, tags) } as const;
        const { outcome } = await cache.run({ ...longer, ...lifetime, unchanged: held });
        if (outcome === 'stored') return 'invalidated';
      }
    } catch {
      // The whole list ends.
    }
    return await handover.invalidate(cache, tagInvalidation(key));
  }

  #hashOf(name: string): string {
    const known = this.#hashes.get(name);
    if (known !== undefined) return known;
    if (this.#hashes.size >= MAX_HASHES) this.#hashes.clear();
    const hash = createHash('sha256').update(name).digest('base64url').slice(0, HASH_LENGTH);
    this.#hashes.set(name, hash);
    return hash;
  }
}
