import { CLOCK, NO_VERSION } from './entry.js';
import { AS_HOLE, WRITE_FLOOR } from './hole.js';

/** `told(section, field)`: what the server says of itself, `-` where it does not. */
export const TOLD = `
local function told(section, field)
  local text = redis.pcall('INFO', section)
  return type(text) == 'string' and string.match(text, field .. ':(%w+)') or '-'
end
`;

/**
 * ARGV: holeTtlMs.
 * Reply: the clock in ms, the run id (new with each start) and the replication id (new with each promotion).
 * Writes the floor of an invalidation, so that it meets what one would meet: a full server lets it pass, one that
 * refuses writes does not.
 */
export const PROBE = `
${CLOCK}${TOLD}
local holeTtlMs = ARGV[from]
known, hole = ${NO_VERSION}, nil
${AS_HOLE}${WRITE_FLOOR}
local nowMs = string.format('%.0f', math.floor(nowUs / 1000))
return nowMs .. ' ' .. told('server', 'run_id') .. ' ' .. told('replication', 'master_replid')
`;
