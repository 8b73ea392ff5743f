import { HOLE, RAISE } from './hole.js';

/**
 * Takes notAfterMs, state (V or A), payload. Reply: the version, in 16 digits; late; unfit. Rule 8.
 * The sum and `%.0f` are exact up to 2^53, which is far beyond what is believed.
 */
export const BUFFER = `
local notAfterMs, as, payload = unpack(ARGV, from, to)
local time = redis.call('TIME')
if time[1] * 1000 + math.floor(time[2] / 1000) > tonumber(notAfterMs) then return 'late' end
if not isValue or known == NO_VERSION then return 'unfit' end
local version = math.max(tonumber(known) + 1, time[1] * 1000000 + time[2])
if version % 2 == 0 then version = version + 1 end
local digits = string.format('%016.0f', version)
if digits > limit() then return 'unfit' end
-- Without a TTL, so that volatile policies keep it, too.
redis.call('SET', key, as .. 'U' .. digits .. '0000000000000' .. payload)
return digits
`;

/**
 * Takes version, outcome, ttlMs, staleAt, holeTtlMs. Reply: cleared, kept or nothing. Rule 8: only its own
 * flush takes the mark away. A full server that may not evict refuses even this; since the store has the
 * value now it may go, as an eviction would take it.
 */
export const FLUSHED = `
if not isUnflushed then return 'nothing' end
local version, outcome, ttlMs, staleAt, holeTtlMs = unpack(ARGV, from, to)
if known ~= version then return 'kept' end
if outcome == 'refused' then
  ${HOLE}${RAISE}
  writeFloor(asHole(holeTtlMs))
elseif ttlMs == '0' then
  redis.call('DEL', key)
else
  -- The header alone: a large payload is not copied.
  local reply = redis.pcall('SETRANGE', key, 1, '-' .. known .. staleAt)
  if type(reply) == 'number' then redis.call('PEXPIRE', key, ttlMs)
  elseif string.find(reply.err, 'OOM', 1, true) then redis.call('DEL', key)
  else error(reply.err) end
end
return 'cleared'
`;
