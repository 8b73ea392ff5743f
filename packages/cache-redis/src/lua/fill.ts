import { CLOSED, SET_VALUE } from './entry.js';
import { WRITE_HOLE } from './hole.js';

/**
 * ARGV: token, version, ttlMs, found (1 or 0), the value's text.
 * Reply: f(illed), l(ost), or b(elow) followed by the floor.
 * Rule 5: its own lease and the floor; no row is a known absence, not a value.
 */
export const FILL = `
local token, version, ttlMs, found, text = unpack(ARGV, from, to)
if not hole or not hole.lease or hole.lease.token ~= token or known == ${CLOSED} then return 'l' end
if found == '0' then
  hole.lease = nil
  hole.intents = {}
  hole.absent = true
  hole.ttlMs = ttlMs
  ${WRITE_HOLE}
  return 'f'
end
if version < known then return 'b' .. known end
${SET_VALUE}
return 'f'
`;
