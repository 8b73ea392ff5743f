import { HOLE_TEXT, WITHOUT } from './hole.js';

/**
 * ARGV: token. Ends the lease, the reservation and the intent of this token; the TTL stays.
 * Reply: held if the lease was its own, else released.
 */
export const RELEASE = `
if not hole then return 'released' end
local token = ARGV[from]
local held = hole.lease and hole.lease.token == token
if held then hole.lease = nil end
if hole.reservation == token then hole.reservation = nil end
${HOLE_TEXT}${WITHOUT}
hole.intents = without(token)
redis.call('SET', key, holeText(), 'KEEPTTL')
return held and 'held' or 'released'
`;
