import { MAX_INTENTS } from '../hole-text.js';
import { CLOCK, CLOSED, NO_VERSION } from './entry.js';
import { AS_HOLE, IN_MS, OVERLAP, SETTLE_INTENTS, WITHOUT, WRITE_HOLE } from './hole.js';

/**
 * ARGV: token, deadlineMs, holeTtlMs.
 * Reply: as to a reservation; behind an M where the hole holds as many intents as it may.
 * Rule 7. Nothing is noted on an unflushed entry: a hole would hide what only the cache has.
 */
export const INTEND = `
if isUnflushed then return 'U' .. known end
local token, deadlineMs, holeTtlMs = unpack(ARGV, from, to)
-- Longer than the intent stands: whoever comes after it must see that there was one.
holeTtlMs = string.format('%.0f', deadlineMs + holeTtlMs)
${CLOCK}${AS_HOLE}${IN_MS}${SETTLE_INTENTS}${WITHOUT}
hole.intents = without(token)
local told = known == ${CLOSED} and ${NO_VERSION} or known
if #hole.intents >= ${MAX_INTENTS} then return 'M' .. told end
${OVERLAP}
local overlapped = #without('') > 0 and '1' or '0'
hole.intents[#hole.intents + 1] = { token = token, untilMs = inMs(deadlineMs), overlapped = overlapped }
hole.lease = nil
hole.absent = false
${WRITE_HOLE}
return told
`;
