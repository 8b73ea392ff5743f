import { CLOSED_TEXT } from '../format.js';
import { JUDGED } from './grammar.js';

/**
 * The start of each command: what is at the key. Of a value only the fixed-width header is read, so that a
 * large payload is not copied. Versions stay the digits that they are stored as, which compare as the numbers
 * do, all being of one width. What does not parse is empty, and is written over; an entry of an unknown format
 * is left alone.
 */
export const HEADER = `${JUDGED}
if isForeign and kind ~= 'probe' then return 'foreign' end
local isEmpty = state == ''
local isUnflushed = state == 'VU' or state == 'AU'
local isValue = state == 'V-' or state == 'A-' or isUnflushed
local isHole = hole ~= nil
local isClosed = isHole and known == '${CLOSED_TEXT}'
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
