import { AS_HOLE, WRITE_FLOOR } from './hole.js';

/**
 * ARGV: version, outcome (stored or refused), ttlMs, staleAt, holeTtlMs.
 * Reply: cleared, kept or nothing.
 * Rule 8: only its own flush takes the mark away. A full server that may not evict refuses even this; since the store
 * has the value now it may go, as an eviction would take it.
 */
export const FLUSHED = `
if not isUnflushed then return 'nothing' end
local version, outcome, ttlMs, staleAt, holeTtlMs = unpack(ARGV, from, to)
if known ~= version then return 'kept' end
if outcome == 'refused' then
  ${AS_HOLE}${WRITE_FLOOR}
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
