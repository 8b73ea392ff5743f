/**
 * The protocol: every transition of the entry at one cache key, as pure functions. This file is the
 * reference that the in-memory cache runs, that Redis' scripts mirror, and that the checkers explore.
 *
 * An entry is a value (its version, and the row or its known absence), a hole (a floor: no version
 * below it may come back) or empty (`undefined`). The rules that keep old data out, by the numbers
 * that `docs/protocol.md` gives them:
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
 *
 * A version further ahead of the cache's clock than `MAX_VERSION_AHEAD_MS` is nobody's: an entry that has one
 * counts as empty, and a floor that would be one closes the hole: nobody fills it. So it is with times: a hole with a
 * lease or an intent that stands for longer than `MAX_HOLE_MS` counts as empty, and one that would be kept for longer,
 * or for ever, is kept for as long as the command says. An entry of another release's format is left as it is,
 * whatever the command.
 */
import type {
  BufferCommand,
  BufferReply,
  CacheCommand,
  CacheHit,
  CacheReply,
  FillCommand,
  FillReply,
  FlushedCommand,
  FlushedReply,
  IntendCommand,
  InvalidateCommand,
  InvalidateReply,
  LeaseCommand,
  LeaseReply,
  Payload,
  PutCommand,
  PutReply,
  RefreshCommand,
  RefreshReply,
  ReleaseCommand,
  ReserveCommand,
  ReserveReply,
} from '../contracts/cache-commands.js';
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

/** Of a format that this release does not know. */
export interface ForeignEntry {
  readonly kind: 'foreign';
  readonly expiresAtMs: number;
}

/** What is at a key; `undefined`: nothing. */
export type Entry = ValueEntry | HoleEntry | ForeignEntry | undefined;

/** What this release may change. */
type Held = ValueEntry | HoleEntry | undefined;

/** The floor of a hole that nobody fills: it stands for a version that is not believed. */
const CLOSED: Version = Number.MAX_SAFE_INTEGER;

/** More would make every command on the key slow. */
const MAX_INTENTS = 256;

/** An entry after a command, and the command's reply. */
export interface Transition<Reply extends CacheReply = CacheReply> {
  readonly entry: Entry;
  readonly reply: Reply;
}

/** What a reader may return of an entry. */
export function hitOf(entry: Entry): CacheHit | undefined {
  if (entry === undefined || entry.kind === 'foreign') return undefined;
  if (entry.kind === 'value') return entry;
  return entry.knownAbsent ? KNOWN_ABSENT : undefined;
}

const KNOWN_ABSENT: CacheHit = { version: NO_VERSION, payload: null, staleAtMs: 0 };

/** Applies a command to the entry at its key. Pure: `nowMs` is the cache's clock. */
export function applyCommand(stored: Entry, command: CacheCommand, nowMs: number): Transition {
  const entry = believed(stored, nowMs);
  if (entry?.kind === 'foreign') return { entry, reply: passedBy(command) };
  switch (command.kind) {
    case 'reserve':
      return reserve(entry, command, nowMs);
    case 'intend':
      return intend(entry, command, nowMs);
    case 'put':
      return put(entry, command, nowMs);
    case 'refresh':
      return refresh(entry, command, nowMs);
    case 'invalidate':
      return invalidate(entry, command, nowMs);
    case 'lease':
      return lease(entry, command, nowMs);
    case 'fill':
      return fill(entry, command, nowMs);
    case 'release':
      return release(entry, command);
    case 'buffer':
      return buffer(entry, command, nowMs);
    case 'flushed':
      return flushed(entry, command, nowMs);
  }
}

function emptyHole(expiresAtMs: number): HoleEntry {
  return {
    kind: 'hole',
    floor: NO_VERSION,
    knownAbsent: false,
    lease: undefined,
    reservation: undefined,
    intents: [],
    expiresAtMs,
  };
}

/** The entry as a hole, empty becoming one; it lives for at least `ttlMs`. */
function asHole(entry: Held, nowMs: number, ttlMs: number): HoleEntry {
  const expiresAtMs = nowMs + ttlMs;
  if (entry === undefined) return emptyHole(expiresAtMs);
  if (entry.kind === 'value') return { ...emptyHole(expiresAtMs), floor: entry.version };
  return { ...entry, expiresAtMs: Math.max(keptUntilMs(entry, nowMs), expiresAtMs) };
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
function raised(hole: HoleEntry, given: Version, nowMs: number): HoleEntry {
  const version = given > believedUpTo(nowMs) ? CLOSED : given;
  if (version !== NO_VERSION && holdsAgainst(hole.floor, version, nowMs)) return hole;
  return { ...hole, floor: Math.max(hole.floor, version), lease: undefined, knownAbsent: false };
}

/**
 * False of what must give way to a change although it has a higher version: that is further ahead of the clock than
 * a minute, so that nobody has to have written it. A hole in its place is right in any case, and costs a miss.
 */
function holdsAgainst(known: Version, version: Version, nowMs: number): boolean {
  return known === version || (known > version && known <= Math.trunc((nowMs + MAX_LEAD_MS) * 1_000));
}

/** The entry as far as it is one: expired, or with a version or a time that nobody can have given, it is empty. */
export function believed(stored: Entry, nowMs: number): Entry {
  if (stored === undefined || stored.expiresAtMs <= nowMs) return undefined;
  if (stored.kind === 'foreign') return stored;
  if (stored.kind === 'hole' && standsTooLong(stored, nowMs)) return undefined;
  const version = knownVersion(stored);
  return version <= believedUpTo(nowMs) || isClosed(stored) ? stored : undefined;
}

function standsTooLong({ intents, lease }: HoleEntry, nowMs: number): boolean {
  const latestMs = nowMs + MAX_HOLE_MS;
  return (lease?.untilMs ?? 0) > latestMs || intents.some(({ untilMs }) => untilMs > latestMs);
}

/** The reply to a command that leaves another release's entry as it is. */
function passedBy(command: CacheCommand): CacheReply {
  switch (command.kind) {
    case 'reserve':
    case 'intend':
      return { kind: 'reserved', known: NO_VERSION, refused: 'foreign' };
    case 'put':
      return { kind: 'put', outcome: 'foreign' };
    case 'refresh':
      return { kind: 'refresh', outcome: 'refused' };
    case 'invalidate':
      return { kind: 'invalidate', outcome: 'foreign' };
    case 'lease':
      return { kind: 'lease', outcome: 'foreign' };
    case 'fill':
      return { kind: 'fill', outcome: 'lost' };
    case 'release':
      return { kind: 'release', held: false };
    case 'buffer':
      return { kind: 'buffer', outcome: 'unfit' };
    case 'flushed':
      return { kind: 'flushed', outcome: 'kept' };
  }
}

function isClosed(entry: Held): boolean {
  return entry?.kind === 'hole' && entry.floor === CLOSED;
}

function knownVersion(entry: Held): Version {
  if (entry === undefined) return NO_VERSION;
  return entry.kind === 'value' ? entry.version : entry.floor;
}

function isUnflushed(entry: Held): entry is ValueEntry {
  return entry?.kind === 'value' && entry.unflushed;
}

function reserved(entry: Held): ReserveReply {
  const known = isClosed(entry) ? NO_VERSION : knownVersion(entry);
  return isUnflushed(entry) ? { kind: 'reserved', known, unflushed: true } : { kind: 'reserved', known };
}

function reserve(entry: Held, command: ReserveCommand, nowMs: number): Transition<ReserveReply> {
  const reply = reserved(entry);
  if (entry?.kind === 'value') return { entry, reply };
  const hole = asHole(entry, nowMs, command.holeTtlMs);
  return { entry: { ...hole, reservation: command.token }, reply };
}

/** What is left of intents that ran out, all of them together. No writer has an empty token. */
const RAN_OUT: Intent = { token: '', untilMs: 0, overlapped: true };

function isRanOut({ token }: Intent): boolean {
  return token === '';
}

/** Intents that ran out become one mark, but only once none stands: until then they may hide a newer commit. */
function settledIntents(intents: readonly Intent[], nowMs: number): readonly Intent[] {
  return intents.length === 0 || standing(intents, nowMs) ? intents : [RAN_OUT];
}

function standing(intents: readonly Intent[], nowMs: number): boolean {
  return intents.some((intent) => intent.untilMs > nowMs);
}

function overlapping(intents: readonly Intent[]): readonly Intent[] {
  return intents.map((intent) => ({ ...intent, overlapped: true }));
}

function intend(entry: Held, command: IntendCommand, nowMs: number): Transition<ReserveReply> {
  const reply = reserved(entry);
  // A hole would hide what only the cache has.
  if (isUnflushed(entry)) return { entry, reply };
  const untilMs = nowMs + command.deadlineMs;
  // Longer than the intent stands: whoever comes after it must see that there was one.
  const hole = asHole(entry, nowMs, command.deadlineMs + command.holeTtlMs);
  const others = settledIntents(hole.intents, nowMs).filter((intent) => intent.token !== command.token);
  if (others.length >= MAX_INTENTS) return { entry, reply: { ...reply, refused: 'full' } };
  const overlapped = !others.every(isRanOut);
  const intents = [...overlapping(others), { token: command.token, untilMs, overlapped }];
  return { entry: { ...hole, lease: undefined, knownAbsent: false, intents }, reply };
}

function put(entry: Held, command: PutCommand, nowMs: number): Transition<PutReply> {
  const { version } = command;
  if (entry?.kind === 'value' && version !== NO_VERSION) {
    if (version >= entry.version) {
      return { entry: valueFrom(command, nowMs), reply: { kind: 'put', outcome: 'stored' } };
    }
    if (entry.unflushed || holdsAgainst(entry.version, version, nowMs)) {
      return { entry, reply: { kind: 'put', outcome: 'superseded' } };
    }
  }
  if (entry?.kind === 'hole' && mayPlace(entry, command)) {
    return { entry: valueFrom(command, nowMs), reply: { kind: 'put', outcome: 'stored' } };
  }
  const hole = raised(asHole(entry, nowMs, command.holeTtlMs), version, nowMs);
  const others = hole.intents.filter((intent) => intent.token !== command.token);
  // A write without versions may have come between, unannounced: the cache had not heard its intent.
  const intents = version === NO_VERSION ? overlapping(others) : others;
  const reservation = hole.reservation === command.token ? undefined : hole.reservation;
  return { entry: { ...hole, intents, reservation }, reply: { kind: 'put', outcome: 'floored' } };
}

/** Rules 2 and 7: may this put become the hole's value? */
function mayPlace(hole: HoleEntry, command: PutCommand): boolean {
  if (command.token === undefined || command.version < hole.floor || isClosed(hole)) return false;
  const own = hole.intents.find((intent) => intent.token === command.token);
  const others = hole.intents.filter((intent) => intent !== own && !isRanOut(intent)).length;
  if (command.version === NO_VERSION) return own !== undefined && !own.overlapped && others === 0;
  return others === 0 && (own !== undefined || hole.reservation === command.token);
}

function valueFrom(command: PutCommand | RefreshCommand | FillCommand, nowMs: number): ValueEntry {
  const { version, payload, staleAtMs, ttlMs } = command;
  return { kind: 'value', version, payload, staleAtMs, expiresAtMs: nowMs + ttlMs, unflushed: false };
}

function refresh(entry: Held, command: RefreshCommand, nowMs: number): Transition<RefreshReply> {
  if (entry?.kind !== 'value' || command.version < entry.version) {
    return { entry, reply: { kind: 'refresh', outcome: 'refused' } };
  }
  return { entry: valueFrom(command, nowMs), reply: { kind: 'refresh', outcome: 'stored' } };
}

function invalidate(entry: Held, command: InvalidateCommand, nowMs: number): Transition<InvalidateReply> {
  const { version } = command;
  const nothing = { entry, reply: { kind: 'invalidate', outcome: 'nothing' } } as const;
  if (entry === undefined && !command.holeOnEmpty) return nothing;
  const unknown = version === NO_VERSION;
  if (unknown && isUnflushed(entry)) return nothing;
  const known = knownVersion(entry);
  if (!unknown && entry !== undefined && known >= version) {
    if (isUnflushed(entry) || holdsAgainst(known, version, nowMs)) return nothing;
  }
  const hole = raised(asHole(entry, nowMs, command.holeTtlMs), version, nowMs);
  const intents = unknown ? overlapping(hole.intents) : hole.intents;
  const reply: InvalidateReply = isUnflushed(entry)
    ? { kind: 'invalidate', outcome: 'floored', superseded: entry.version }
    : { kind: 'invalidate', outcome: 'floored' };
  return { entry: { ...hole, intents }, reply };
}

function lease(entry: Held, command: LeaseCommand, nowMs: number): Transition<LeaseReply> {
  const hit = hitOf(entry);
  if (hit !== undefined) return { entry, reply: { kind: 'lease', outcome: 'hit', hit } };
  const hole = asHole(entry, nowMs, Math.max(command.leaseMs, command.holeTtlMs));
  const { floor } = hole;
  const intents = settledIntents(hole.intents, nowMs);
  // A hole that would be kept for too long is not, whoever passes it by.
  const left = entry !== undefined && entry.expiresAtMs > nowMs + MAX_HOLE_MS ? hole : entry;
  if (isClosed(hole)) return { entry: left, reply: { kind: 'lease', outcome: 'pass', floor: NO_VERSION } };
  if (standing(intents, nowMs)) return { entry: left, reply: { kind: 'lease', outcome: 'pass', floor } };
  if (hole.lease !== undefined && hole.lease.untilMs > nowMs && hole.lease.token !== command.token) {
    const remainingMs = hole.lease.untilMs - nowMs;
    return { entry: left, reply: { kind: 'lease', outcome: 'busy', floor, remainingMs } };
  }
  const taken = { token: command.token, untilMs: nowMs + command.leaseMs };
  return {
    entry: { ...hole, intents, lease: taken },
    reply:
      intents.length === 0
        ? { kind: 'lease', outcome: 'granted', floor }
        : { kind: 'lease', outcome: 'granted', floor, behind: true },
  };
}

function fill(entry: Held, command: FillCommand, nowMs: number): Transition<FillReply> {
  if (entry?.kind !== 'hole' || entry.lease?.token !== command.token || isClosed(entry)) {
    return { entry, reply: { kind: 'fill', outcome: 'lost' } };
  }
  if (command.payload === null) {
    const expiresAtMs = nowMs + command.ttlMs;
    const absent = { ...entry, lease: undefined, intents: [], knownAbsent: true, expiresAtMs };
    return { entry: absent, reply: { kind: 'fill', outcome: 'filled' } };
  }
  if (command.version < entry.floor) {
    return { entry, reply: { kind: 'fill', outcome: 'below-floor', floor: entry.floor } };
  }
  return { entry: valueFrom(command, nowMs), reply: { kind: 'fill', outcome: 'filled' } };
}

function release(entry: Held, command: ReleaseCommand): Transition {
  const held = entry?.kind === 'hole' && entry.lease?.token === command.token;
  const reply: CacheReply = { kind: 'release', held };
  if (entry?.kind !== 'hole') return { entry, reply };
  return {
    entry: {
      ...entry,
      lease: entry.lease?.token === command.token ? undefined : entry.lease,
      reservation: entry.reservation === command.token ? undefined : entry.reservation,
      intents: entry.intents.filter((intent) => intent.token !== command.token),
    },
    reply,
  };
}

/** Rule 8. The lowest odd number above what the entry holds, and not below the clock in µs. */
function bufferedVersion(held: Version, nowMs: number): Version {
  const above = Math.max(held + 1, Math.trunc(nowMs * 1_000));
  return above % 2 === 1 ? above : above + 1;
}

function buffer(entry: Held, command: BufferCommand, nowMs: number): Transition<BufferReply> {
  if (nowMs > command.notAfterMs) return { entry, reply: { kind: 'buffer', outcome: 'late' } };
  if (entry?.kind !== 'value' || entry.version === NO_VERSION) {
    return { entry, reply: { kind: 'buffer', outcome: 'unfit' } };
  }
  const version = bufferedVersion(entry.version, nowMs);
  if (version > believedUpTo(nowMs)) return { entry, reply: { kind: 'buffer', outcome: 'unfit' } };
  const { payload } = command;
  return {
    entry: {
      kind: 'value',
      version,
      payload,
      staleAtMs: 0,
      expiresAtMs: Number.POSITIVE_INFINITY,
      unflushed: true,
    },
    reply: { kind: 'buffer', outcome: 'buffered', version },
  };
}

function flushed(entry: Held, command: FlushedCommand, nowMs: number): Transition<FlushedReply> {
  if (!isUnflushed(entry)) return { entry, reply: { kind: 'flushed', outcome: 'nothing' } };
  if (entry.version !== command.version) return { entry, reply: { kind: 'flushed', outcome: 'kept' } };
  const { holeTtlMs, staleAtMs, ttlMs } = command;
  return {
    entry:
      command.outcome === 'stored'
        ? { ...entry, staleAtMs, expiresAtMs: nowMs + ttlMs, unflushed: false }
        : asHole(entry, nowMs, holeTtlMs),
    reply: { kind: 'flushed', outcome: 'cleared' },
  };
}
