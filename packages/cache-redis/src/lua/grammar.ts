/**
 * The grammar of `format.ts` as the scripts have it. The client has the same (`format.ts`, `hole-text.ts`);
 * a test holds the two to one judgement of any text.
 */
import { MAX_HOLE_MS, MAX_TOKEN_BYTES, MAX_VERSION_AHEAD_MS } from '@lockstep/core';
import { CLOSED_TEXT } from '../format.js';
import { MAX_INTENTS, MAX_TAIL_BYTES } from '../hole-text.js';

const DIGITS = (count: number): string => '%d'.repeat(count);
const AHEAD_S = MAX_VERSION_AHEAD_MS / 1_000;

/**
 * Tells from the first 32 bytes what is at the key; of a hole it reads the rest. Leaves `state`, `known` and, of
 * a hole, `hole`. All loops end with the text, which is bounded.
 */
export const JUDGED = `
local head = redis.pcall('GETRANGE', key, 0, 31)
if type(head) ~= 'string' then
  if not string.find(head.err, 'WRONGTYPE', 1, true) then return error(head.err) end
  head = ''
end
local state, known, hole = '', NO_VERSION, nil
local function limit()
  local time = call('TIME')
  return string.format('%016.0f', (time[1] + ${AHEAD_S}) * 1000000 + time[2])
end
local header = #head > 31 and sub(head, 1, 31) or head
local shape = #header == 31 and string.match(header, '^([VAHK][U-])%d+$')
if shape == 'V-' or (shape == 'A-' and #head == 31) then
  state, known = shape, sub(head, 3, 18)
elseif shape == 'VU' or (shape == 'AU' and #head == 31) then
  if string.find(head, '[13579]', 18) == 18 then state, known = shape, sub(head, 3, 18) end
elseif (shape == 'H-' or shape == 'K-') and sub(header, 19) == '${'0'.repeat(13)}' then
  known = sub(head, 3, 18)
  hole = { floor = known, absent = sub(head, 1, 1) == 'K', intents = {} }
  local text = #head > 31 and call('GETRANGE', key, 31, ${31 + MAX_TAIL_BYTES}) or ''
  local at = #text > ${MAX_TAIL_BYTES} and 0 or 1
  local function token(tag)
    local from, past, length = string.find(text, '^' .. tag .. ':', at)
    length = tonumber(length)
    if not from or length > ${MAX_TOKEN_BYTES} or past + length > #text then return nil end
    at = past + length + 1
    return sub(text, past + 1, past + length)
  end
  local latest
  local function noted(tag)
    local from = at
    local name = token(tag)
    local untilMs = name and tonumber(string.match(text, '^${DIGITS(13)}', at))
    if untilMs and not latest then
      local time = call('TIME')
      latest = time[1] * 1000 + math.floor(time[2] / 1000) + ${MAX_HOLE_MS}
    end
    if not untilMs or untilMs > latest then
      at = from
      return nil
    end
    at = at + 13
    return { token = name, untilMs = untilMs }
  end
  if at == 1 and #text > 0 then
    hole.lease = noted('L([1-9]%d?%d?)')
    hole.reservation = token('R([1-9]%d?%d?)')
    while at <= #text and #hole.intents < ${MAX_INTENTS} do
      local intent = noted('I([1-9]%d?%d?)') or noted('I(0)')
      local overlapped = intent and string.match(text, '^[01]', at)
      if not overlapped then
        at = 0
        break
      end
      intent.overlapped = overlapped == '1'
      at = at + 1
      hole.intents[#hole.intents + 1] = intent
    end
  end
  if at == #text + 1 then state = sub(head, 1, 2) end
end
local isForeign = string.find(head, '^L[1-9]%d?%d?%d?:') and sub(head, 1, 3) ~= 'L1:'
if state == '' or (known ~= NO_VERSION and known > limit() and not (hole and known == '${CLOSED_TEXT}')) then
  state, known, hole = '', NO_VERSION, nil
end
`;
