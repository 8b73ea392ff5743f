/**
 * Notices: a hash under the board's own name, each field an end by the server's clock in ms, a space, and the text. What
 * is over is removed by whoever comes past it.
 * KEYS: the board. ARGV: the operation and what it says below.
 */
export const NOTICES = `
local key = KEYS[1]
local operation = ARGV[2]

-- remove: name. Reply: nothing that matters.
if operation == 'remove' then
  redis.call('HDEL', key, ARGV[3])
  return 'removed'
end

local time = redis.call('TIME')
local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)
local all = redis.pcall('HGETALL', key)
if all.err then
  if not string.find(all.err, 'WRONGTYPE', 1, true) then return error(all.err) end
  redis.call('DEL', key)
  all = {}
end
local texts, others = {}, 0
for at = 1, #all, 2 do
  local name = all[at]
  local endMs, text = string.match(all[at + 1], '^(%d+) (.*)$')
  if not endMs or tonumber(endMs) <= nowMs then
    redis.call('HDEL', key, name)
  else
    texts[#texts + 1] = text
    if name ~= ARGV[3] then others = others + 1 end
  end
end

-- list. Reply: the texts.
if operation == 'list' then return texts end

-- post: name, ttlMs, limit, text. Reply: whether there was room.
if others >= tonumber(ARGV[5]) then return 'full' end
redis.call('HSET', key, ARGV[3], string.format('%.0f ', nowMs + ARGV[4]) .. ARGV[6])
redis.call('PEXPIRE', key, math.max(tonumber(ARGV[4]), redis.call('PTTL', key)))
return 'posted'
`;
