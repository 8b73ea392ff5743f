import { SET_VALUE } from './entry.js';

/**
 * ARGV: version, ttlMs, the value's text.
 * Reply: stored, or refused: no value is there, or a newer one.
 */
export const REFRESH = `
local version, ttlMs, text = unpack(ARGV, from, to)
if not isValue or version < known then return 'refused' end
${SET_VALUE}
return 'stored'
`;
