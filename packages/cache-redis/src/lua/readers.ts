import { NOW, SET_VALUE } from './header.js';
import { HOLE, INTENTS } from './hole.js';

/**
 * ARGV: token, leaseMs, holeTtlMs. Reply, one text: a hit is the entry itself; else a letter and the
 * floor: g(ranted), p(ass), or b(usy) followed by the ms that the other lease has left.
 * Rule 6: a lease may be taken over after its time. Rule 7: while an intent stands nobody fills.
 */
export const LEASE = `
if isValue then return redis.call('GET', key) end
if state == 'K' then return head end
${NOW}${HOLE}${INTENTS}
local token, leaseMs = ARGV[2], tonumber(ARGV[3])
local now = nowMs()
local hole = asHole(math.max(leaseMs, tonumber(ARGV[4])))
hole.intents = settled(hole.intents, now)
if #hole.intents > 0 then return 'p' .. hole.floor end
local lease = hole.lease
if lease and lease.untilMs > now and lease.token ~= token then
  return 'b' .. hole.floor .. string.format('%.0f', lease.untilMs - now)
end
hole.lease = { token = token, untilMs = now + leaseMs }
writeHole(hole)
return 'g' .. hole.floor
`;

/**
 * ARGV: token, version, ttlMs, found (1 or 0), the value's text. Reply: f(illed), l(ost), or b(elow)
 * followed by the floor. Rule 5: its own lease and the floor; no row is a known absence, not a value.
 */
export const FILL = `
if not isHole then return 'l' end
${SET_VALUE}${HOLE}
local hole = readHole()
if not hole.lease or hole.lease.token ~= ARGV[2] then return 'l' end
if ARGV[5] == '0' then
  hole.lease = nil
  hole.absent = true
  hole.ttlMs = tonumber(ARGV[4])
  writeHole(hole)
  return 'f'
end
if tonumber(ARGV[3]) < tonumber(hole.floor) then return 'b' .. hole.floor end
setValue(ARGV[6], ARGV[4])
return 'f'
`;

/** ARGV: version, ttlMs, the value's text. Reply: the outcome. Replaces a value that is not newer. */
export const REFRESH = `${SET_VALUE}
if not isValue or tonumber(ARGV[2]) < tonumber(known) then return 'refused' end
setValue(ARGV[4], ARGV[3])
return 'stored'
`;
