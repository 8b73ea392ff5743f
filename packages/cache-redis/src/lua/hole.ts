import { MAX_HOLE_MS, MAX_LEAD_MS } from '@lockstep/core';
import { CLOSED_TEXT } from '../format.js';

const LEAD_S = MAX_LEAD_MS / 1_000;

/** `holdsAgainst` is false of what gives way to a change of a lower version (`protocol/entry.ts` in core). */
export const HOLDS = `
local function holdsAgainst(version)
  if known == version then return true end
  local time = call('TIME')
  return known > version and known <= string.format('%016.0f', (time[1] + ${LEAD_S}) * 1000000 + time[2])
end
`;

/**
 * Holes: `asHole` is the entry as a hole that lives at least `ttlMs` from now, `writeHole` puts it back. One that
 * would live for ever, or for longer than any command says, is cut: it lives for `ttlMs`, or, since whoever comes
 * after an intent must see it, for as long as an intent may stand. Tokens carry their length, so that any text is one.
 */
export const HOLE = `
local function asHole(ttlMs)
  local made = hole or { floor = known, absent = false, intents = {} }
  made.ttlMs = tonumber(ttlMs)
  if isHole then
    local left = redis.call('PTTL', key)
    if left < 0 or left > ${MAX_HOLE_MS} then
      made.isCut = true
      left = #made.intents > 0 and ${MAX_HOLE_MS} or 0
    end
    made.ttlMs = math.max(made.ttlMs, left)
  end
  return made
end

local function noted(tag, token, untilMs)
  return tag .. #token .. ':' .. token .. string.format('%013.0f', math.min(untilMs, 9999999999999))
end

local function holeText(hole)
  local parts = { hole.absent and 'K' or 'H', '-', hole.floor, '0000000000000' }
  if hole.lease then parts[#parts + 1] = noted('L', hole.lease.token, hole.lease.untilMs) end
  if hole.reservation then parts[#parts + 1] = 'R' .. #hole.reservation .. ':' .. hole.reservation end
  for _, intent in ipairs(hole.intents) do
    parts[#parts + 1] = noted('I', intent.token, intent.untilMs) .. (intent.overlapped and '1' or '0')
  end
  return table.concat(parts)
end

local function writeHole(hole)
  if hole.ttlMs <= 0 then return redis.call('DEL', key) end
  return redis.call('SET', key, holeText(hole), 'PX', string.format('%.0f', hole.ttlMs))
end
`;

/**
 * Rule 4 (a version beyond belief closes the hole), behind {@link HOLDS}, and the writing of the hole that a floor makes. A full server that may not evict refuses
 * even a hole that is smaller than the value in its place; the value must go all the same, so it goes
 * as an eviction would take it, which every rule allows for where no intent stands.
 */
export const RAISE = `
local function raise(hole, version)
  if version ~= NO_VERSION and version > limit() then version = '${CLOSED_TEXT}' end
  if version ~= NO_VERSION and version <= hole.floor and holdsAgainst(version) then return end
  if version > hole.floor then hole.floor = version end
  hole.lease = nil
  hole.absent = false
end

local function writeFloor(hole)
  if hole.ttlMs <= 0 then return redis.call('DEL', key) end
  local reply = redis.pcall('SET', key, holeText(hole), 'PX', string.format('%.0f', hole.ttlMs))
  if reply.err == nil then return reply end
  if #hole.intents == 0 and string.find(reply.err, 'OOM', 1, true) then return redis.call('DEL', key) end
  return error(reply.err)
end
`;

/** Rule 7: what becomes of intents. */
export const INTENTS = `
local function standing(intents, now)
  for _, intent in ipairs(intents) do
    if intent.untilMs > now then return true end
  end
  return false
end

-- Those that ran out become one mark, without a token, but only once none stands: until then they may hide a
-- newer commit.
local function settled(intents, now)
  if #intents == 0 or standing(intents, now) then return intents end
  return { { token = '', untilMs = 0, overlapped = true } }
end

local function without(intents, token)
  local others = {}
  for _, intent in ipairs(intents) do
    if intent.token ~= token then others[#others + 1] = intent end
  end
  return others
end

local function overlap(intents)
  for _, intent in ipairs(intents) do intent.overlapped = true end
end
`;
