import { CLOCK, CLOSED, NO_VERSION } from './entry.js';
import { AS_HOLE, IN_MS, SETTLE_INTENTS, WRITE_HOLE } from './hole.js';

/**
 * ARGV: token, leaseMs, holeTtlMs.
 * Reply, one text: a hit is the entry itself; else a letter and the floor: g(ranted), followed by a plus where an
 * intent ran out; p(ass); or b(usy), followed by the ms that the other lease has left.
 * Rule 6: a lease may be taken over after its time. Rule 7: while an intent stands nobody fills.
 */
export const LEASE = `
if isValue then return redis.call('GET', key) end
if hole and hole.absent then return string.sub(stored, 1, 31) end
local token, leaseMs, holeTtlMs = unpack(ARGV, from, to)
if tonumber(leaseMs) > tonumber(holeTtlMs) then holeTtlMs = leaseMs end
${CLOCK}${AS_HOLE}${IN_MS}
-- Whoever passes it by, too.
if hole.isCut then redis.call('PEXPIRE', key, hole.ttlMs) end
if known == ${CLOSED} then return 'p' .. ${NO_VERSION} end
${SETTLE_INTENTS}
if isStanding() then return 'p' .. known end
local lease = hole.lease
local leftMs = lease and lease.untilMs - math.floor(nowUs / 1000) or 0
if leftMs > 0 and lease.token ~= token then return 'b' .. known .. string.format('%.0f', leftMs) end
hole.lease = { token = token, untilMs = inMs(leaseMs) }
${WRITE_HOLE}
return 'g' .. known .. (#hole.intents > 0 and '+' or '')
`;
