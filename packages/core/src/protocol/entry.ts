/**
 * The entry at one cache key, as the protocol's transitions see it: a value (its version, and the row or its known
 * absence), a hole (a floor: no version below it may come back) or empty (`undefined`).
 *
 * `transitions.ts` says what each command makes of it, in pure functions: the reference, which the in-memory cache
 * runs, the scripts for Redis mirror (`cache-redis/src/lua`), and the checkers explore. The rules that keep old data
 * out, by the numbers of `docs/protocol.md`:
 *
 * 1. A reservation is noted on a hole or an empty key; a value keeps none.
 * 2. A put beats a lower value; becomes the value of a hole only with its own token still noted and at
 *    or above the floor; otherwise raises the floor. A hole does not prove that nothing newer was there.
 * 3. An invalidation turns a lower value into a hole and raises a hole's floor; it never deletes.
 * 4. Whatever raises a floor ends the lease and the known absence.
 * 5. A fill needs its own lease still in place, and the floor. No row found has no version: known absent.
 * 6. Tokens are unique for ever; a lease may be taken over after its time; every entry expires.
 * 7. An intent turns a value into a hole that nobody fills while it stands; a put makes a value only
 *    when its intent is the last one left. An intent that ran out stays listed while another stands,
 *    since its writer may have committed something newer. Once none stands, those that ran out leave one
 *    mark behind until the key holds a value again: their writers may still commit, and the lease says so.
 * 8. A buffered write stands on a value, or an absence of known version, is numbered above it and above
 *    the clock, oddly, and does not expire. Only its own flush, or a newer version, takes the mark away.
 * 9. A tag is a value without a version whose payload is its token. An invalidation ends it; no later one has its token.
 *
 * Bounds on what an entry may say: a version further ahead of the cache's clock than `MAX_VERSION_AHEAD_MS` is
 * nobody's. An entry that has one counts as empty, and a floor that would be one closes the hole: nobody fills it.
 * A hole with a lease or an intent that stands for longer than `MAX_HOLE_MS` counts as empty; one that would be kept
 * for longer, or for ever, is kept for as long as the command says. An entry of another release's format is left as
 * it is, whatever the command.
 */
import type { CacheHit, CacheReply, Payload } from '../contracts/cache-commands.js';
import { believedUpTo, MAX_HOLE_MS, MAX_LEAD_MS, NO_VERSION, type Version } from '../contracts/version.js';

/** A value, or a versioned absence (`payload: null`). */
export interface ValueEntry {
  readonly kind: 'value';
  readonly version: Version;
  readonly payload: Payload | null;
  readonly staleAtMs: number;
  /** By the cache's clock, in ms since the epoch. `Infinity` for an unflushed entry. */
  readonly expiresAtMs: number;
  /** True for a buffered write that the store does not have yet. */
  readonly unflushed: boolean;
}

/** A strict or unversioned writer under way. */
export interface Intent {
  readonly token: string;
  readonly untilMs: number;
  /** True when another write may have been under way at any time since this one was noted. */
  readonly overlapped: boolean;
}

export interface HoleEntry {
  readonly kind: 'hole';
  readonly floor: Version;
  readonly knownAbsent: boolean;
  readonly lease: { readonly token: string; readonly untilMs: number } | undefined;
  readonly reservation: string | undefined;
  readonly intents: readonly Intent[];
  readonly expiresAtMs: number;
}

/** An entry of a format that this release does not know. */
export interface ForeignEntry {
  readonly kind: 'foreign';
  readonly expiresAtMs: number;
}

/** The entry at a key; `undefined`: the key is empty. */
export type Entry = ValueEntry | HoleEntry | ForeignEntry | undefined;

/** An entry that this release may change. */
export type Held = ValueEntry | HoleEntry | undefined;

/** An entry after a command, and the command's reply. */
export interface Transition<Reply extends CacheReply = CacheReply> {
  readonly entry: Entry;
  readonly reply: Reply;
}

/** The floor of a hole that nobody fills: it stands for a version that is not believed. */
const CLOSED: Version = Number.MAX_SAFE_INTEGER;

const KNOWN_ABSENT: CacheHit = { version: NO_VERSION, payload: null, staleAtMs: 0 };

/** The hit that a reader may return from an entry; `undefined`: a miss. */
export function hitOf(entry: Entry): CacheHit | undefined {
  if (entry === undefined || entry.kind === 'foreign') return undefined;
  if (entry.kind === 'value') return entry;
  return entry.knownAbsent ? KNOWN_ABSENT : undefined;
}

/** The entry as far as it is one: expired, or with a version or a time that nobody can have given, it is empty. */
export function believed(stored: Entry, nowMs: number): Entry {
  if (stored === undefined || stored.expiresAtMs <= nowMs) return undefined;
  if (stored.kind === 'foreign') return stored;
  if (stored.kind === 'hole' && standsTooLong(stored, nowMs)) return undefined;
  return knownVersion(stored) <= believedUpTo(nowMs) || isClosed(stored) ? stored : undefined;
}

function standsTooLong({ intents, lease }: HoleEntry, nowMs: number): boolean {
  const latestMs = nowMs + MAX_HOLE_MS;
  return (lease?.untilMs ?? 0) > latestMs || intents.some(({ untilMs }) => untilMs > latestMs);
}

/** The highest version that the entry knows. */
export function knownVersion(entry: Held): Version {
  if (entry === undefined) return NO_VERSION;
  return entry.kind === 'value' ? entry.version : entry.floor;
}

export function isUnflushed(entry: Held): entry is ValueEntry {
  return entry?.kind === 'value' && entry.unflushed;
}

/** True of the very value that a reader was given. */
export function isUnchanged(entry: ValueEntry, hit: CacheHit): boolean {
  const same = entry.version === hit.version && entry.staleAtMs === hit.staleAtMs && !entry.unflushed;
  return same && isSamePayload(entry.payload, hit.payload);
}

export function isSamePayload(one: Payload | null, other: Payload | null): boolean {
  if (one === null || other === null) return one === other;
  return one === other || Buffer.from(one as string).equals(Buffer.from(other as string));
}

export function isClosed(entry: Held): boolean {
  return entry?.kind === 'hole' && entry.floor === CLOSED;
}

/**
 * False of what must give way to a change although it has a higher version: that is further ahead of the clock than
 * a minute, so that nobody has to have written it. A hole in its place is right in any case, and costs a miss.
 */
export function holdsAgainst(known: Version, version: Version, nowMs: number): boolean {
  return known === version || (known > version && known <= Math.trunc((nowMs + MAX_LEAD_MS) * 1_000));
}

/** The entry as a hole, empty becoming one; it lives for at least `ttlMs`. */
export function asHole(entry: Held, nowMs: number, ttlMs: number): HoleEntry {
  const expiresAtMs = nowMs + ttlMs;
  if (entry?.kind === 'hole') {
    return { ...entry, expiresAtMs: Math.max(keptUntilMs(entry, nowMs), expiresAtMs) };
  }
  return {
    kind: 'hole',
    floor: knownVersion(entry),
    knownAbsent: false,
    lease: undefined,
    reservation: undefined,
    intents: [],
    expiresAtMs,
  };
}

/** An expiry that no command can have given counts for nothing, except that whoever comes after an intent must see it. */
function keptUntilMs({ expiresAtMs, intents }: HoleEntry, nowMs: number): number {
  const latestMs = nowMs + MAX_HOLE_MS;
  if (expiresAtMs <= latestMs) return expiresAtMs;
  return intents.length > 0 ? latestMs : nowMs;
}

/**
 * Rule 4. A lease taken after the floor rose to this version loads what is at least as new, and stays;
 * an unknown version (`0`) may be newer than any load.
 */
export function raised(hole: HoleEntry, given: Version, nowMs: number): HoleEntry {
  const version = given > believedUpTo(nowMs) ? CLOSED : given;
  if (version !== NO_VERSION && holdsAgainst(hole.floor, version, nowMs)) return hole;
  return { ...hole, floor: Math.max(hole.floor, version), lease: undefined, knownAbsent: false };
}

/** The one mark that intents which ran out leave behind. No writer has an empty token. */
const RAN_OUT: Intent = { token: '', untilMs: 0, overlapped: true };

export function isRanOut({ token }: Intent): boolean {
  return token === '';
}

/** Rule 7: intents that ran out become one mark, but only once none stands: until then they may hide a newer commit. */
export function settled(intents: readonly Intent[], nowMs: number): readonly Intent[] {
  return intents.length === 0 || standing(intents, nowMs) ? intents : [RAN_OUT];
}

export function standing(intents: readonly Intent[], nowMs: number): boolean {
  return intents.some((intent) => intent.untilMs > nowMs);
}

export function without(intents: readonly Intent[], token: string | undefined): readonly Intent[] {
  return intents.filter((intent) => intent.token !== token);
}

export function overlapping(intents: readonly Intent[]): readonly Intent[] {
  return intents.map((intent) => ({ ...intent, overlapped: true }));
}

/** The value that a command brings. */
export function valueFrom(
  command: Pick<ValueEntry, 'version' | 'payload' | 'staleAtMs'> & { readonly ttlMs: number },
  nowMs: number,
): ValueEntry {
  const { version, payload, staleAtMs, ttlMs } = command;
  return { kind: 'value', version, payload, staleAtMs, expiresAtMs: nowMs + ttlMs, unflushed: false };
}
