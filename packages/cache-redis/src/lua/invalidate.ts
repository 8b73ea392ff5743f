import { HOLDS_AGAINST, NO_VERSION } from './entry.js';
import { AS_HOLE, OVERLAP, RAISE, WRITE_FLOOR } from './hole.js';

/**
 * ARGV: version, holeTtlMs, holeOnEmpty (1 or 0).
 * Reply: floored or nothing; S and its version where an unflushed entry gave way.
 * Rule 3: never a bare delete.
 */
export const INVALIDATE = `
local version, holeTtlMs, holeOnEmpty = unpack(ARGV, from, to)
local unknown = version == ${NO_VERSION}
if isUnflushed then
  if unknown or known >= version then return 'nothing' end
elseif isValue or hole then
  if not unknown and ${HOLDS_AGAINST} then return 'nothing' end
elseif holeOnEmpty ~= '1' then
  -- What is no entry here may be a known absence to a reader, who has no clock to judge it by.
  if stored ~= '' then redis.call('DEL', key) end
  return 'nothing'
end
${AS_HOLE}${RAISE}
if unknown then ${OVERLAP} end
${WRITE_FLOOR}
return isUnflushed and 'S' .. known or 'floored'
`;
