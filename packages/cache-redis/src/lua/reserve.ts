import { CLOSED, NO_VERSION } from './entry.js';
import { AS_HOLE, WRITE_HOLE } from './hole.js';

/**
 * ARGV: token, holeTtlMs.
 * Reply: the highest version that the entry knows, behind a U where it is unflushed.
 * Rule 1: a value keeps no reservation.
 */
export const RESERVE = `
if isValue then return isUnflushed and 'U' .. known or known end
local token, holeTtlMs = unpack(ARGV, from, to)
${AS_HOLE}
hole.reservation = token
${WRITE_HOLE}
return known == ${CLOSED} and ${NO_VERSION} or known
`;
