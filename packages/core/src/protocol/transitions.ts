/** The protocol's transitions, in the order of the scripts that mirror them (`cache-redis/src/lua`). */
import {
  type BufferCommand,
  type BufferReply,
  type CacheCommand,
  type CacheReply,
  type FillCommand,
  type FillReply,
  type FlushedCommand,
  type FlushedReply,
  type IntendCommand,
  type InvalidateCommand,
  type InvalidateReply,
  type LeaseCommand,
  type LeaseReply,
  MAX_TAG_BYTES,
  type Payload,
  type PutCommand,
  type PutReply,
  type RefreshCommand,
  type RefreshReply,
  type ReleaseCommand,
  type ReleaseReply,
  type ReserveCommand,
  type ReserveReply,
  type TagCommand,
  type TagReply,
} from '../contracts/cache-commands.js';
import { believedUpTo, MAX_HOLE_MS, NO_VERSION, type Version } from '../contracts/version.js';
import {
  asHole,
  believed,
  type Entry,
  type Held,
  type HoleEntry,
  hitOf,
  holdsAgainst,
  isClosed,
  isRanOut,
  isUnchanged,
  isUnflushed,
  knownVersion,
  overlapping,
  raised,
  settled,
  standing,
  type Transition,
  valueFrom,
  without,
} from './entry.js';

/** Applies a command to the entry at its key. Pure: `nowMs` is the cache's clock. */
export function applyCommand(stored: Entry, command: CacheCommand, nowMs: number): Transition {
  const entry = believed(stored, nowMs);
  if (entry?.kind === 'foreign') return { entry, reply: PASSED_BY[command.kind] };
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
    case 'tag':
      return tag(entry, command, nowMs);
  }
}

/** The replies to commands that leave another release's entry as it is. */
const PASSED_BY: Readonly<Record<CacheCommand['kind'], CacheReply>> = {
  reserve: { kind: 'reserved', known: NO_VERSION, refused: 'foreign' },
  intend: { kind: 'reserved', known: NO_VERSION, refused: 'foreign' },
  put: { kind: 'put', outcome: 'foreign' },
  refresh: { kind: 'refresh', outcome: 'refused' },
  invalidate: { kind: 'invalidate', outcome: 'foreign' },
  lease: { kind: 'lease', outcome: 'foreign' },
  fill: { kind: 'fill', outcome: 'lost' },
  release: { kind: 'release', held: false },
  buffer: { kind: 'buffer', outcome: 'unfit' },
  flushed: { kind: 'flushed', outcome: 'kept' },
  tag: { kind: 'tag', token: undefined },
};

/** A hole that holds more would make every command on its key slow. */
const MAX_INTENTS = 256;

/** Rule 1: a value keeps no reservation. */
function reserve(entry: Held, command: ReserveCommand, nowMs: number): Transition<ReserveReply> {
  const reply = reserved(entry);
  if (entry?.kind === 'value') return { entry, reply };
  const hole = asHole(entry, nowMs, command.holeTtlMs);
  return { entry: { ...hole, reservation: command.token }, reply };
}

function reserved(entry: Held): ReserveReply {
  const known = isClosed(entry) ? NO_VERSION : knownVersion(entry);
  return isUnflushed(entry) ? { kind: 'reserved', known, unflushed: true } : { kind: 'reserved', known };
}

/** Rule 7. Nothing is noted on an unflushed entry: a hole would hide what only the cache has. */
function intend(entry: Held, command: IntendCommand, nowMs: number): Transition<ReserveReply> {
  const reply = reserved(entry);
  if (isUnflushed(entry)) return { entry, reply };
  const untilMs = nowMs + command.deadlineMs;
  // Longer than the intent stands: whoever comes after it must see that there was one.
  const hole = asHole(entry, nowMs, command.deadlineMs + command.holeTtlMs);
  const others = without(settled(hole.intents, nowMs), command.token);
  if (others.length >= MAX_INTENTS) return { entry, reply: { ...reply, refused: 'full' } };
  const overlapped = !others.every(isRanOut);
  const intents = [...overlapping(others), { token: command.token, untilMs, overlapped }];
  return { entry: { ...hole, lease: undefined, knownAbsent: false, intents }, reply };
}

/** Rule 2: beats a lower value; on a hole needs its own token and the floor; otherwise raises the floor. */
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
  const others = without(hole.intents, command.token);
  // A write without versions may have come between, unannounced: the cache had not heard its intent.
  const intents = version === NO_VERSION ? overlapping(others) : others;
  const reservation = hole.reservation === command.token ? undefined : hole.reservation;
  return { entry: { ...hole, intents, reservation }, reply: { kind: 'put', outcome: 'floored' } };
}

/** Rules 2 and 7: may this put become the hole's value? Without a version only if no other write overlapped it. */
function mayPlace(hole: HoleEntry, command: PutCommand): boolean {
  if (command.token === undefined || command.version < hole.floor || isClosed(hole)) return false;
  if (!without(hole.intents, command.token).every(isRanOut)) return false;
  const own = hole.intents.find((intent) => intent.token === command.token);
  if (command.version === NO_VERSION) return own !== undefined && !own.overlapped;
  return own !== undefined || hole.reservation === command.token;
}

/** Replaces a value that is not newer; where `unchanged` is given, exactly that. */
function refresh(entry: Held, command: RefreshCommand, nowMs: number): Transition<RefreshReply> {
  const { unchanged, version } = command;
  const older = entry?.kind === 'value' && version >= entry.version;
  if (!older || (unchanged !== undefined && !isUnchanged(entry, unchanged))) {
    return { entry, reply: { kind: 'refresh', outcome: 'refused' } };
  }
  return { entry: valueFrom(command, nowMs), reply: { kind: 'refresh', outcome: 'stored' } };
}

/** Rule 3: never a bare delete. */
function invalidate(entry: Held, command: InvalidateCommand, nowMs: number): Transition<InvalidateReply> {
  const { version } = command;
  const unknown = version === NO_VERSION;
  const nothing = { entry, reply: { kind: 'invalidate', outcome: 'nothing' } } as const;
  if (entry === undefined) {
    if (!command.holeOnEmpty) return nothing;
  } else if (isUnflushed(entry)) {
    if (unknown || entry.version >= version) return nothing;
  } else if (!unknown && holdsAgainst(knownVersion(entry), version, nowMs)) {
    return nothing;
  }
  const hole = raised(asHole(entry, nowMs, command.holeTtlMs), version, nowMs);
  const intents = unknown ? overlapping(hole.intents) : hole.intents;
  const reply: InvalidateReply = isUnflushed(entry)
    ? { kind: 'invalidate', outcome: 'floored', superseded: entry.version }
    : { kind: 'invalidate', outcome: 'floored' };
  return { entry: { ...hole, intents }, reply };
}

/** Rule 6: a lease may be taken over after its time. Rule 7: while an intent stands nobody fills. */
function lease(entry: Held, command: LeaseCommand, nowMs: number): Transition<LeaseReply> {
  const hit = hitOf(entry);
  if (hit !== undefined) return { entry, reply: { kind: 'lease', outcome: 'hit', hit } };
  const hole = asHole(entry, nowMs, Math.max(command.leaseMs, command.holeTtlMs));
  const { floor } = hole;
  const intents = settled(hole.intents, nowMs);
  // A hole that would be kept for too long is not, whoever passes it by.
  const left = entry !== undefined && entry.expiresAtMs > nowMs + MAX_HOLE_MS ? hole : entry;
  if (isClosed(hole)) return { entry: left, reply: { kind: 'lease', outcome: 'pass', floor: NO_VERSION } };
  if (standing(intents, nowMs)) return { entry: left, reply: { kind: 'lease', outcome: 'pass', floor } };
  if (hole.lease !== undefined && hole.lease.untilMs > nowMs && hole.lease.token !== command.token) {
    const remainingMs = hole.lease.untilMs - nowMs;
    return { entry: left, reply: { kind: 'lease', outcome: 'busy', floor, remainingMs } };
  }
  const taken = { token: command.token, untilMs: nowMs + command.leaseMs };
  const behind = intents.length > 0 ? ({ behind: true } as const) : {};
  return {
    entry: { ...hole, intents, lease: taken },
    reply: { kind: 'lease', outcome: 'granted', floor, ...behind },
  };
}

/** Rule 5: its own lease and the floor; no row is a known absence, not a value. */
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

/** Ends the lease, the reservation and the intent of this token; the hole's expiry stays. */
function release(entry: Held, { token }: ReleaseCommand): Transition<ReleaseReply> {
  if (entry?.kind !== 'hole') return { entry, reply: { kind: 'release', held: false } };
  const held = entry.lease?.token === token;
  const lease = held ? undefined : entry.lease;
  const reservation = entry.reservation === token ? undefined : entry.reservation;
  const intents = without(entry.intents, token);
  return { entry: { ...entry, lease, reservation, intents }, reply: { kind: 'release', held } };
}

/** A write has to know what it stands on: a value, or an absence whose version is known. */
function buffer(entry: Held, command: BufferCommand, nowMs: number): Transition<BufferReply> {
  if (nowMs > command.notAfterMs) return { entry, reply: { kind: 'buffer', outcome: 'late' } };
  if (entry?.kind !== 'value' || entry.version === NO_VERSION) {
    return { entry, reply: { kind: 'buffer', outcome: 'unfit' } };
  }
  const version = bufferedVersion(entry.version, nowMs);
  if (version > believedUpTo(nowMs)) return { entry, reply: { kind: 'buffer', outcome: 'unfit' } };
  const { payload } = command;
  const expiresAtMs = Number.POSITIVE_INFINITY;
  return {
    entry: { kind: 'value', version, payload, staleAtMs: 0, expiresAtMs, unflushed: true },
    reply: { kind: 'buffer', outcome: 'buffered', version },
  };
}

/** The lowest odd number above what the entry holds, and not below the clock in µs. */
function bufferedVersion(held: Version, nowMs: number): Version {
  const above = Math.max(held + 1, Math.trunc(nowMs * 1_000));
  return above % 2 === 1 ? above : above + 1;
}

/** Only its own flush takes the mark away; where the store refused it, a hole with its floor is left. */
function flushed(entry: Held, command: FlushedCommand, nowMs: number): Transition<FlushedReply> {
  if (!isUnflushed(entry)) return { entry, reply: { kind: 'flushed', outcome: 'nothing' } };
  if (entry.version !== command.version) return { entry, reply: { kind: 'flushed', outcome: 'kept' } };
  const { holeTtlMs, outcome, staleAtMs, ttlMs } = command;
  return {
    entry:
      outcome === 'stored'
        ? { ...entry, staleAtMs, expiresAtMs: nowMs + ttlMs, unflushed: false }
        : asHole(entry, nowMs, holeTtlMs),
    reply: { kind: 'flushed', outcome: 'cleared' },
  };
}

/**
 * A tag that is there keeps its token. A new one has the cache's clock in its token: the same command, arriving again
 * behind an invalidation, must not bring back the token that the invalidation ended.
 */
function tag(entry: Held, command: TagCommand, nowMs: number): Transition<TagReply> {
  if (entry?.kind === 'value') {
    if (entry.unflushed) return { entry, reply: { kind: 'tag', token: undefined } };
    const token = tokenOf(entry.payload);
    if (token !== undefined)
      return { entry: prolonged(entry, command, nowMs), reply: { kind: 'tag', token } };
  }
  const token = `${command.token}@${Math.trunc(nowMs * 1_000)}`;
  const made = { ...command, version: NO_VERSION, payload: token, staleAtMs: 0 };
  return { entry: valueFrom(made, nowMs), reply: { kind: 'tag', token } };
}

/** Lives on for its whole time once a quarter of that is over: each change of an entry ends what is near. */
function prolonged(entry: Held & { kind: 'value' }, { ttlMs }: TagCommand, nowMs: number): Held {
  const leftMs = entry.expiresAtMs - nowMs;
  return leftMs * 4 < ttlMs * 3 ? { ...entry, expiresAtMs: nowMs + ttlMs } : entry;
}

function tokenOf(payload: Payload | null): string | undefined {
  if (payload === null || payload.length === 0) return undefined;
  const text = typeof payload === 'string' ? payload : Buffer.from(payload).toString();
  return Buffer.byteLength(payload) <= MAX_TAG_BYTES ? text : undefined;
}
