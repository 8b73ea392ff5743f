import { MAX_HOLE_MS, MAX_LEAD_MS, MAX_TOKEN_BYTES, MAX_VERSION_AHEAD_MS } from '@lockstep/core';
import { CLOSED_TEXT } from '../format.js';
import { MAX_INTENTS, MAX_TAIL_BYTES } from '../hole-text.js';

/** The digits of no version, and of no time. */
export const NO_VERSION = `'${'0'.repeat(16)}'`;
export const NO_TIME = `'${'0'.repeat(13)}'`;
export const CLOSED = `'${CLOSED_TEXT}'`;

const HEADER_BYTES = 31;
/** The first read takes a header and nearly every hole whole. No more, since a value may be large. */
const FIRST_BYTES = 256;
const MAX_BYTES = HEADER_BYTES + MAX_TAIL_BYTES;

/**
 * Reads the first bytes at the key, `stored`, and of a header its `state`, nil where there is none, and the version
 * `known`.
 */
export const STORED = `
local stored = redis.pcall('GETRANGE', key, 0, ${FIRST_BYTES - 1})
if type(stored) ~= 'string' then
  if not string.find(stored.err, 'WRONGTYPE', 1, true) then return error(stored.err) end
  stored = ''
end
local state, past = string.match(stored, '^([VAHK][U-])%d+()')
if past and past <= ${HEADER_BYTES} then state = nil end
local known = string.sub(stored, 3, 18)
`;

/** Sets `nowUs`, the server's clock. One reading serves all commands of a run. */
export const CLOCK = `
if not nowUs then
  local time = redis.call('TIME')
  nowUs = time[1] * 1000000 + time[2]
end
`;

/** True of a version beyond belief; behind {@link CLOCK}. */
export const beyondBelief = (version: string): string =>
  `${version} - ${MAX_VERSION_AHEAD_MS * 1_000} > nowUs`;

/** False of an entry that gives way to a change of a lower `version`. */
export const HOLDS_AGAINST = `
(known == version or (known > version and known - ${MAX_LEAD_MS * 1_000} <= nowUs))
`;

/**
 * Judges the text by the grammar of `format.ts`, which the client has, too (`format.ts`, `hole-text.ts`; a test holds
 * the two to one judgement of any text). Leaves `isValue`, `isUnflushed` and `hole`, a table, none of them set for an
 * empty key; and `known`: the digits of the value's version or the hole's floor. Versions compare as the numbers do,
 * all being of one width. Where a version is known, the clock was asked: an empty key needs none. Ends the command
 * where another release's entry stands.
 */
export const ENTRY = `
local isValue, isUnflushed, hole
if state == 'V-' or (state == 'A-' and #stored == ${HEADER_BYTES}) then
  isValue = true
elseif state == 'VU' or (state == 'AU' and #stored == ${HEADER_BYTES}) then
  isUnflushed = known % 2 == 1
  isValue = isUnflushed
elseif (state == 'H-' or state == 'K-') and string.sub(stored, 19, ${HEADER_BYTES}) == ${NO_TIME} then
  hole = { floor = known, absent = state == 'K-', intents = {} }
  if #stored == ${FIRST_BYTES} then stored = redis.call('GETRANGE', key, 0, ${MAX_BYTES}) end
  local at, size = ${HEADER_BYTES + 1}, #stored
  if size > ${MAX_BYTES} then hole = nil end
  -- The lease, the reservation, the intents. Each match looks at a few bytes, and what does not fit ends the loop.
  while hole and at <= size do
    local tag, digits, start = string.match(stored, '^([LRI])(%d%d?%d?):()', at)
    local length = tonumber(digits)
    local past = length and start + length
    local isToken = length and length <= ${MAX_TOKEN_BYTES} and past <= size + 1
      and (string.sub(digits, 1, 1) ~= '0' or (tag == 'I' and digits == '0'))
    local token = isToken and string.sub(stored, start, past - 1)
    if not isToken then
      hole = nil
    elseif tag == 'R' then
      if hole.reservation or #hole.intents > 0 then hole = nil else hole.reservation = token end
      at = past
    else
      local untilMs, overlapped, behind = string.match(stored, '^(${'%d'.repeat(13)})([01]?)()', past)
      ${CLOCK}
      if not untilMs or (untilMs - ${MAX_HOLE_MS}) * 1000 > nowUs then
        hole = nil
      elseif tag == 'L' and at == ${HEADER_BYTES + 1} and overlapped == '' then
        hole.lease = { token = token, untilMs = untilMs }
      elseif tag == 'I' and overlapped ~= '' and #hole.intents < ${MAX_INTENTS} then
        hole.intents[#hole.intents + 1] = { token = token, untilMs = untilMs, overlapped = overlapped }
      else
        hole = nil
      end
      at = behind
    end
  end
elseif string.find(stored, '^L[1-9]%d?%d?%d?:') and string.sub(stored, 1, 3) ~= 'L1:' then
  if kind ~= 'probe' and kind ~= 'kept' then return 'foreign' end
end
if not isValue and not hole then
  known = ${NO_VERSION}
elseif known ~= ${NO_VERSION} then
  ${CLOCK}
  if ${beyondBelief('known')} and not (hole and known == ${CLOSED}) then
    isValue, isUnflushed, hole, known = false, false, nil, ${NO_VERSION}
  end
end
`;

/** Makes the key a value of `text`. A TTL of nothing is a value that has expired already. */
export const SET_VALUE = `
if ttlMs == '0' then redis.call('DEL', key) else redis.call('SET', key, text, 'PX', ttlMs) end
`;
