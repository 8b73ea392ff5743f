/**
 * The start of each command: what is at the key, from the entry's fixed-width header alone, so that a
 * large payload is not copied. `format.ts` describes the header. Versions stay the digits that they
 * are stored as, which compare as the numbers do, all being of one width.
 */
export const HEADER = `
local head = call('GETRANGE', key, 0, 30)
local state = sub(head, 1, 2)
-- A string of other making is no entry: it counts as empty, and is written over.
if #head < 31 or not string.find(head, '^[VAHK][U-]%d+$') then state = '' end
local isEmpty = state == ''
local isUnflushed = state == 'VU' or state == 'AU'
local isValue = state == 'V-' or state == 'A-' or isUnflushed
local isHole = state == 'H-' or state == 'K-'
local known = isEmpty and NO_VERSION or sub(head, 3, 18)
`;

/** Makes the key a value. A TTL of nothing is a value that has expired already. */
export const SET_VALUE = `
local function setValue(text, ttlMs)
  if ttlMs == '0' then call('DEL', key) else call('SET', key, text, 'PX', ttlMs) end
end
`;

/** The server's clock in ms: leases and intents run out by it, whoever asks. */
export const NOW = `
local function nowMs()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
`;
