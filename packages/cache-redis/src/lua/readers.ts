import { NOW, SET_VALUE } from './header.js';
import { HOLE, INTENTS } from './hole.js';

/**
 * Takes token, leaseMs, holeTtlMs. Reply, one text: a hit is the entry itself; else a letter and the
 * floor: g(ranted), followed by a plus where an intent ran out; p(ass); or b(usy), followed by the ms that the
 * other lease has left.
 * Rule 6: a lease may be taken over after its time. Rule 7: while an intent stands nobody fills.
 */
export const LEASE = `
if isValue then return redis.call('GET', key) end
if state == 'K-' then return sub(head, 1, 31) end
${NOW}${HOLE}${INTENTS}
local token, leaseMs, holeTtlMs = unpack(ARGV, from, to)
local now = nowMs()
local hole = asHole(math.max(tonumber(leaseMs), tonumber(holeTtlMs)))
-- Whoever passes it by, too.
if hole.isCut then call('PEXPIRE', key, string.format('%.0f', hole.ttlMs)) end
if isClosed then return 'p' .. NO_VERSION end
hole.intents = settled(hole.intents, now)
if standing(hole.intents, now) then return 'p' .. hole.floor end
local lease = hole.lease
if lease and lease.untilMs > now and lease.token ~= token then
  return 'b' .. hole.floor .. string.format('%.0f', lease.untilMs - now)
end
hole.lease = { token = token, untilMs = now + leaseMs }
writeHole(hole)
return 'g' .. hole.floor .. (#hole.intents > 0 and '+' or '')
`;

/**
 * Takes token, version, ttlMs, found (1 or 0), the value's text. Reply: f(illed), l(ost), or b(elow)
 * followed by the floor. Rule 5: its own lease and the floor; no row is a known absence, not a value.
 */
export const FILL = `
if not isHole or isClosed then return 'l' end
local token, version, ttlMs, found, text = unpack(ARGV, from, to)
${SET_VALUE}${HOLE}
if not hole.lease or hole.lease.token ~= token then return 'l' end
if found == '0' then
  hole.lease = nil
  hole.intents = {}
  hole.absent = true
  hole.ttlMs = tonumber(ttlMs)
  writeHole(hole)
  return 'f'
end
if version < hole.floor then return 'b' .. hole.floor end
setValue(text, ttlMs)
return 'f'
`;

/** Takes version, ttlMs, the value's text. Reply: the outcome. Replaces a value that is not newer. */
export const REFRESH = `${SET_VALUE}
local version, ttlMs, text = unpack(ARGV, from, to)
if not isValue or version < known then return 'refused' end
setValue(text, ttlMs)
return 'stored'
`;
