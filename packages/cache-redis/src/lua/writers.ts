import { NOW, SET_VALUE } from './header.js';
import { HOLE, INTENTS, RAISE } from './hole.js';

/**
 * ARGV: token, holeTtlMs. Reply: the highest version known, after a U where the entry is unflushed.
 * Rule 1: a value keeps no reservation.
 */
export const RESERVE = `
if isValue then return isUnflushed and 'U' .. known or known end
${HOLE}
local hole = asHole(ARGV[3])
hole.reservation = ARGV[2]
writeHole(hole)
return known
`;

/**
 * ARGV: token, deadlineMs, holeTtlMs. Reply: as to a reservation. Rule 7. Nothing is noted on an unflushed
 * entry: a hole would hide what only the cache has.
 */
export const INTEND = `
if isUnflushed then return 'U' .. known end
${NOW}${HOLE}${INTENTS}
local token, deadlineMs = ARGV[2], tonumber(ARGV[3])
local now = nowMs()
local hole = asHole(math.max(deadlineMs, tonumber(ARGV[4])))
local intents = without(settled(hole.intents, now), token)
local overlapped = #intents > 0
overlap(intents)
intents[#intents + 1] = { token = token, untilMs = now + deadlineMs, overlapped = overlapped }
hole.intents = intents
hole.lease = nil
hole.absent = false
writeHole(hole)
return known
`;

/**
 * ARGV: token (empty: none), version, ttlMs, holeTtlMs, the value's text. Reply: the outcome.
 * Rule 2: beats a lower value; on a hole needs its own token and the floor; else raises the floor.
 * Rule 7: among intents only the last one left makes a value, and without a version only one that
 * no other overlapped.
 */
export const PUT = `${SET_VALUE}
local token, version = ARGV[2], ARGV[3]
local unversioned = tonumber(version) == 0
if isValue and not unversioned then
  if tonumber(version) < tonumber(known) then return 'superseded' end
  setValue(ARGV[6], ARGV[4])
  return 'stored'
end
${HOLE}${RAISE}${INTENTS}
local function mayPlace(hole)
  if token == '' or tonumber(version) < tonumber(hole.floor) then return false end
  local own, others = nil, 0
  for _, intent in ipairs(hole.intents) do
    if intent.token == token then own = intent else others = others + 1 end
  end
  if others > 0 then return false end
  if unversioned then return own ~= nil and not own.overlapped end
  return own ~= nil or hole.reservation == token
end
local hole = asHole(ARGV[5])
if isHole and mayPlace(hole) then
  setValue(ARGV[6], ARGV[4])
  return 'stored'
end
raise(hole, version)
hole.intents = without(hole.intents, token)
-- A write without versions may have come between, unannounced: the cache had not heard its intent.
if unversioned then overlap(hole.intents) end
if hole.reservation == token then hole.reservation = nil end
writeFloor(hole)
return 'floored'
`;

/**
 * ARGV: version, holeTtlMs, holeOnEmpty (1 or 0). Reply: the outcome; of an unflushed entry S and its
 * version. Rule 3: never a bare delete.
 */
export const INVALIDATE = `
local version = ARGV[2]
local unknown = tonumber(version) == 0
if isEmpty and ARGV[4] ~= '1' then return 'nothing' end
if unknown and isUnflushed then return 'nothing' end
if not unknown and not isEmpty and tonumber(known) >= tonumber(version) then return 'nothing' end
${HOLE}${RAISE}${INTENTS}
local hole = asHole(ARGV[3])
raise(hole, version)
if unknown then overlap(hole.intents) end
writeFloor(hole)
if isUnflushed then return 'S' .. known end
return 'floored'
`;

/** ARGV: token. Takes back the lease, reservation and intent of this token; the TTL stays. */
export const RELEASE = `
if not isHole then return 'released' end
${HOLE}${INTENTS}
local token = ARGV[2]
local hole = readHole()
if hole.lease and hole.lease.token == token then hole.lease = nil end
if hole.reservation == token then hole.reservation = nil end
hole.intents = without(hole.intents, token)
redis.call('SET', key, holeText(hole), 'KEEPTTL')
return 'released'
`;
