import { MAX_INTENTS } from '../hole-text.js';
import { NOW, SET_VALUE } from './header.js';
import { HOLDS, HOLE, INTENTS, RAISE } from './hole.js';

/**
 * Takes token, holeTtlMs. Reply: the highest version known, after a U where the entry is unflushed.
 * Rule 1: a value keeps no reservation.
 */
export const RESERVE = `
if isValue then return isUnflushed and 'U' .. known or known end
${HOLE}
local token, holeTtlMs = unpack(ARGV, from, to)
local hole = asHole(holeTtlMs)
hole.reservation = token
writeHole(hole)
return isClosed and NO_VERSION or known
`;

/**
 * Takes token, deadlineMs, holeTtlMs. Reply: as to a reservation. Rule 7. Nothing is noted on an unflushed
 * entry: a hole would hide what only the cache has.
 */
export const INTEND = `
if isUnflushed then return 'U' .. known end
${NOW}${HOLE}${INTENTS}
local token, deadlineMs, holeTtlMs = unpack(ARGV, from, to)
local now = nowMs()
-- Longer than the intent stands: whoever comes after it must see that there was one.
local hole = asHole(deadlineMs + holeTtlMs)
local intents = without(settled(hole.intents, now), token)
if #intents >= ${MAX_INTENTS} then return 'M' .. (isClosed and NO_VERSION or known) end
local overlapped = #without(intents, '') > 0
overlap(intents)
intents[#intents + 1] = { token = token, untilMs = now + deadlineMs, overlapped = overlapped }
hole.intents = intents
hole.lease = nil
hole.absent = false
writeHole(hole)
return isClosed and NO_VERSION or known
`;

/**
 * Most puts: of a version, over a row that the store has and that is not newer. True where it was one and is
 * done; what fails is left to {@link PUT}, whose arguments it takes. It asks no clock: what stands there is at
 * most what is put, and a version beyond belief that is put is as good as evicted. (From the year 2255 on each is judged.)
 */
export const OVERWRITE = `
local function overwritten(key, from)
  local head, ttlMs, text = redis.pcall('GETRANGE', key, 0, 30), ARGV[from], ARGV[from + 1]
  if type(head) ~= 'string' or not string.find(head, '^V%-%d+$') then return false end
  local version = sub(text, 3, 18)
  if #head < 31 or version == NO_VERSION or version < sub(head, 3, 18) then return false end
  local reply = redis.pcall('SET', key, text, 'PX', ttlMs)
  return reply.ok ~= nil
end
`;

/**
 * Takes ttlMs, the value's text, which has the version, then holeTtlMs and, after a blank, the token if there
 * is one. Reply: the outcome.
 * Rule 2: beats a lower value; on a hole needs its own token and the floor; else raises the floor.
 * Rule 7: among intents only the last one left makes a value, and without a version only one that
 * no other overlapped.
 */
export const PUT = `${SET_VALUE}${HOLDS}
local ttlMs, text, rest = unpack(ARGV, from, to)
local holeTtlMs, token = string.match(rest, '^(%d+) ?(.*)$')
local version = sub(text, 3, 18)
local unversioned = version == NO_VERSION
if isValue and not unversioned then
  if version >= known then
    setValue(text, ttlMs)
    return 'stored'
  end
  if isUnflushed or holdsAgainst(version) then return 'superseded' end
end
${HOLE}${RAISE}${INTENTS}
local function mayPlace(hole)
  if token == '' or version < hole.floor or isClosed then return false end
  local own, others = nil, 0
  for _, intent in ipairs(hole.intents) do
    if intent.token == token then own = intent elseif intent.token ~= '' then others = others + 1 end
  end
  if others > 0 then return false end
  if unversioned then return own ~= nil and not own.overlapped end
  return own ~= nil or hole.reservation == token
end
local hole = asHole(holeTtlMs)
if isHole and mayPlace(hole) then
  setValue(text, ttlMs)
  return 'stored'
end
raise(hole, version)
if token ~= '' then hole.intents = without(hole.intents, token) end
-- A write without versions may have come between, unannounced: the cache had not heard its intent.
if unversioned then overlap(hole.intents) end
if hole.reservation == token then hole.reservation = nil end
writeFloor(hole)
return 'floored'
`;

/**
 * Takes version, holeTtlMs, holeOnEmpty (1 or 0). Reply: the outcome; of an unflushed entry S and its
 * version. Rule 3: never a bare delete.
 */
export const INVALIDATE = `${HOLDS}
local version, holeTtlMs, holeOnEmpty = unpack(ARGV, from, to)
local unknown = version == NO_VERSION
if isEmpty and holeOnEmpty ~= '1' then
  -- What is no entry here may be a known absence to a reader, who has no clock to judge it by.
  if head ~= '' then call('DEL', key) end
  return 'nothing'
end
if unknown and isUnflushed then return 'nothing' end
if not unknown and not isEmpty and known >= version and (isUnflushed or holdsAgainst(version)) then
  return 'nothing'
end
${HOLE}${RAISE}${INTENTS}
local hole = asHole(holeTtlMs)
raise(hole, version)
if unknown then overlap(hole.intents) end
writeFloor(hole)
if isUnflushed then return 'S' .. known end
return 'floored'
`;

/** Takes token. Ends the lease, reservation and intent of this token; the TTL stays. Reply: held if the lease was its own. */
export const RELEASE = `
if not isHole then return 'released' end
${HOLE}${INTENTS}
local token = ARGV[from]
local held = hole.lease and hole.lease.token == token
if held then hole.lease = nil end
if hole.reservation == token then hole.reservation = nil end
hole.intents = without(hole.intents, token)
redis.call('SET', key, holeText(hole), 'KEEPTTL')
return held and 'held' or 'released'
`;
