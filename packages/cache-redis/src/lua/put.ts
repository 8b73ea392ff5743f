import { CLOSED, HOLDS_AGAINST, NO_VERSION, SET_VALUE } from './entry.js';
import { AS_HOLE, OVERLAP, RAISE, WITHOUT, WRITE_FLOOR } from './hole.js';

/**
 * Most puts, ahead of {@link PUT}, whose arguments it takes: of a version, over a row that the store has and that is
 * not newer. It asks no clock: what stands there is at most what is put, and a version beyond belief that is put is
 * as good as evicted.
 */
export const OVERWRITE = `
if state == 'V-' then
  local ttlMs, text = ARGV[from], ARGV[from + 1]
  local version = string.sub(text, 3, 18)
  if version >= known and version ~= ${NO_VERSION} then
    ${SET_VALUE}
    return 'stored'
  end
end
`;

/**
 * ARGV: ttlMs; the value's text, which has the version; holeTtlMs and, behind a blank, the token if there is one.
 * Reply: stored, superseded or floored.
 * Rule 2: beats a lower value; on a hole needs its own token and the floor; else raises the floor.
 * Rule 7: among intents only the last one left makes a value, and without a version only one that no other overlapped.
 */
export const PUT = `
local ttlMs, text, rest = unpack(ARGV, from, to)
local holeTtlMs, token = string.match(rest, '^(%d+) ?(.*)$')
local version = string.sub(text, 3, 18)
local unversioned = version == ${NO_VERSION}
local places = false
if isValue and not unversioned then
  places = version >= known
  if not places and (isUnflushed or ${HOLDS_AGAINST}) then return 'superseded' end
elseif hole and token ~= '' and version >= known and known ~= ${CLOSED} then
  local own, others = nil, false
  for _, intent in ipairs(hole.intents) do
    if intent.token == token then own = intent elseif intent.token ~= '' then others = true end
  end
  if unversioned then
    places = own and own.overlapped == '0' and not others
  else
    places = (own or hole.reservation == token) and not others
  end
end
if places then
  ${SET_VALUE}
  return 'stored'
end
${AS_HOLE}${RAISE}
if token ~= '' then
  ${WITHOUT}
  hole.intents = without(token)
  if hole.reservation == token then hole.reservation = nil end
end
-- A write without versions may have come between, unannounced: the cache had not heard its intent.
if unversioned then ${OVERLAP} end
${WRITE_FLOOR}
return 'floored'
`;
