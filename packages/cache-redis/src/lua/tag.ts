import { MAX_TAG_BYTES } from '@lockstep/core';
import { CLOCK, NO_TIME, NO_VERSION } from './entry.js';

/**
 * ARGV: token, ttlMs.
 * Reply: t and the tag's token; foreign where a buffered write stands.
 * Rule 9: a tag that is there keeps its token, and its time while most of that is left: each change of a key is told to
 * those who watch it. A new one has the clock in it, so that no command makes a token twice.
 */
export const TAG = `
if isUnflushed then return 'foreign' end
local token, ttlMs = unpack(ARGV, from, to)
if isValue and state == 'V-' and #stored > 31 and #stored <= ${31 + MAX_TAG_BYTES} then
  local left = redis.call('PTTL', key)
  if left >= 0 and left * 4 < tonumber(ttlMs) * 3 then redis.call('PEXPIRE', key, ttlMs) end
  return 't' .. string.sub(stored, 32)
end
${CLOCK}
local made = token .. '@' .. string.format('%.0f', nowUs)
if ttlMs == '0' then redis.call('DEL', key)
else redis.call('SET', key, 'V-' .. ${NO_VERSION} .. ${NO_TIME} .. made, 'PX', ttlMs) end
return 't' .. made
`;
