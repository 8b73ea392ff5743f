/**
 * The start of the script: what is at the key, from the entry's fixed-width header alone, so that a
 * large payload is not copied. `format.ts` describes the header. Versions stay the strings that they
 * are stored as and become numbers only to be compared: a double compares exactly up to 2^53, while
 * turning one back into text would round it.
 */
export const HEADER = `
local head = redis.call('GETRANGE', key, 0, 30)
local state = string.sub(head, 1, 1)
-- A string of other making is no entry: it counts as empty, and is written over.
if #head < 31 or not string.find(head, '^[VAHK].%d+$') then state = '' end
local isEmpty = state == ''
local isValue = state == 'V' or state == 'A'
local isUnflushed = isValue and string.sub(head, 2, 2) == 'U'
local isHole = state == 'H' or state == 'K'
local known = isEmpty and '0000000000000000' or string.sub(head, 3, 18)
`;

/** Makes the key a value. A TTL of nothing is a value that has expired already. */
export const SET_VALUE = `
local function setValue(text, ttlMs)
  if tonumber(ttlMs) > 0 then redis.call('SET', key, text, 'PX', ttlMs) else redis.call('DEL', key) end
end
`;

/** The server's clock in ms: leases and intents run out by it, whoever asks. */
export const NOW = `
local function nowMs()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
`;
