import { SET_VALUE } from './entry.js';

/**
 * ARGV: version, ttlMs, the value's text; the text that the key must hold, empty for any.
 * Reply: stored, or refused: no value is there, a newer one, or another than it must be.
 */
export const REFRESH = `
local version, ttlMs, text, unchanged = unpack(ARGV, from, to)
if not isValue or version < known then return 'refused' end
if unchanged ~= '' and redis.call('GET', key) ~= unchanged then return 'refused' end
${SET_VALUE}
return 'stored'
`;
