import { MAX_HOLE_MS } from '@lockstep/core';
import { beyondBelief, CLOCK, CLOSED, HOLDS_AGAINST, NO_TIME, NO_VERSION } from './entry.js';

/**
 * Makes `hole` the entry as a hole, a value or an empty key becoming one, that lives at least `holeTtlMs` from now.
 * One that would live for ever, or for longer than any command says, is cut: it lives for `holeTtlMs`, or, since
 * whoever comes after an intent must see it, for as long as an intent may stand.
 */
export const AS_HOLE = `
if not hole then
  hole = { floor = known, absent = false, intents = {}, ttlMs = holeTtlMs }
else
  local left = redis.call('PTTL', key)
  if left < 0 or left > ${MAX_HOLE_MS} then
    hole.isCut = true
    left = #hole.intents > 0 and ${MAX_HOLE_MS} or 0
  end
  hole.ttlMs = left > tonumber(holeTtlMs) and string.format('%.0f', left) or holeTtlMs
end
`;

/** `holeText()`. Tokens carry their length, so that any text is one. */
export const HOLE_TEXT = `
local function holeText()
  local lease, reservation, intents = hole.lease, hole.reservation, hole.intents
  local text = (hole.absent and 'K-' or 'H-') .. hole.floor .. ${NO_TIME}
  if lease then text = text .. 'L' .. #lease.token .. ':' .. lease.token .. lease.untilMs end
  if reservation then text = text .. 'R' .. #reservation .. ':' .. reservation end
  if #intents == 0 then return text end
  local parts = { text }
  for index, intent in ipairs(intents) do
    parts[index + 1] = 'I' .. #intent.token .. ':' .. intent.token .. intent.untilMs .. intent.overlapped
  end
  return table.concat(parts)
end
`;

/** Puts the hole back. */
export const WRITE_HOLE = `
${HOLE_TEXT}
if hole.ttlMs == '0' then redis.call('DEL', key) else redis.call('SET', key, holeText(), 'PX', hole.ttlMs) end
`;

/** Rule 4, of the hole and `version`. A version beyond belief closes the hole. */
export const RAISE = `
if version ~= ${NO_VERSION} then
  ${CLOCK}
  if ${beyondBelief('version')} then version = ${CLOSED} end
end
if version == ${NO_VERSION} or not ${HOLDS_AGAINST} then
  if version > hole.floor then hole.floor = version end
  hole.lease = nil
  hole.absent = false
end
`;

/**
 * Puts back a hole that a floor made. A full server that may not evict refuses even a hole that is smaller than the
 * value in its place. The value must go all the same, so it goes as an eviction would take it, which every rule
 * allows for where no intent stands.
 */
export const WRITE_FLOOR = `
${HOLE_TEXT}
if hole.ttlMs == '0' then
  redis.call('DEL', key)
else
  local reply = redis.pcall('SET', key, holeText(), 'PX', hole.ttlMs)
  if reply.err then
    if #hole.intents > 0 or not string.find(reply.err, 'OOM', 1, true) then return error(reply.err) end
    redis.call('DEL', key)
  end
end
`;

/** `inMs(ms)`: that time from now, in the 13 digits of a note; behind `CLOCK`. */
export const IN_MS = `
local function inMs(ms)
  return string.format('%013.0f', math.min(math.floor(nowUs / 1000) + ms, 9999999999999))
end
`;

/**
 * Rule 7. `isStanding()`: whether an intent stands; behind `CLOCK`. Those that ran out become one mark, without a
 * token, but only once none stands: until then they may hide a newer commit.
 */
export const SETTLE_INTENTS = `
local function isStanding()
  for _, intent in ipairs(hole.intents) do
    if tonumber(intent.untilMs) > math.floor(nowUs / 1000) then return true end
  end
  return false
end
if #hole.intents > 0 and not isStanding() then
  hole.intents = { { token = '', untilMs = ${NO_TIME}, overlapped = '1' } }
end
`;

/** `without(token)`: the intents of others. */
export const WITHOUT = `
local function without(token)
  local others = {}
  for _, intent in ipairs(hole.intents) do
    if intent.token ~= token then others[#others + 1] = intent end
  end
  return others
end
`;

/** Another write may have been under way since each intent was noted. */
export const OVERLAP = `
for _, intent in ipairs(hole.intents) do intent.overlapped = '1' end
`;
