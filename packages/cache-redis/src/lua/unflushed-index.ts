import { MAX_VERSION_AHEAD_MS } from '@lockstep/core';

const MAX_AHEAD_US = MAX_VERSION_AHEAD_MS * 1_000;

/**
 * The index of unflushed keys: a sorted set, the score a key's mark. Marks are the server's clock in µs,
 * and above every mark that the index holds: so each is given once, and a page of them ends between two keys.
 * KEYS: the index. ARGV: the operation and what it says below.
 */
export const UNFLUSHED_INDEX = `
local key = KEYS[1]
local operation = ARGV[2]

-- add: limit, keys. Reply: the clock in ms, then each key's mark; 0 where the index is full.
if operation == 'add' then
  local time = redis.call('TIME')
  local mark = time[1] * 1000000 + time[2] - 1
  local highest = redis.pcall('ZREVRANGE', key, 0, 0, 'WITHSCORES')
  if highest.err then
    if not string.find(highest.err, 'WRONGTYPE', 1, true) then return error(highest.err) end
    redis.call('DEL', key)
  end
  local top = tonumber(highest[2])
  local most = mark + ${MAX_AHEAD_US}
  if top and top > most then
    -- Nobody was given such marks: above them there are none that differ.
    local above = string.format('(%.0f', most)
    for _, name in ipairs(redis.call('ZRANGEBYSCORE', key, above, '+inf', 'LIMIT', 0, 1000)) do
      mark = mark + 1
      redis.call('ZADD', key, string.format('%.0f', mark), name)
    end
  elseif top and top > mark then
    mark = top
  end
  local reply = { string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)) }
  local room = tonumber(ARGV[3]) - redis.call('ZCARD', key)
  local keys = { unpack(ARGV, 4) }
  local held = #keys > 0 and room < #keys and redis.call('ZMSCORE', key, unpack(keys))
  local taken, added = {}, {}
  for position, name in ipairs(keys) do
    local new = held and not held[position] and not taken[name]
    if new and room <= 0 then
      reply[position + 1] = '0'
    else
      if new then room = room - 1 end
      taken[name] = true
      mark = mark + 1
      local text = string.format('%.0f', mark)
      reply[position + 1] = text
      added[#added + 1] = text
      added[#added + 1] = name
    end
  end
  if #added > 0 then redis.call('ZADD', key, unpack(added)) end
  return table.concat(reply, ' ')
end

-- list: the mark to begin above, limit. Reply: each key and its mark, the oldest first.
if operation == 'list' then
  return redis.call('ZRANGEBYSCORE', key, '(' .. ARGV[3], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[4])
end

-- remove: each key and its mark. Those that were added again since have a higher one, and stay.
if operation == 'remove' then
  for at = 3, #ARGV, 2 do
    local mark = redis.call('ZSCORE', key, ARGV[at])
    if mark and tonumber(mark) <= tonumber(ARGV[at + 1]) then redis.call('ZREM', key, ARGV[at]) end
  end
  return 'removed'
end

return tostring(redis.call('ZCARD', key))
`;
