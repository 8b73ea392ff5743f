import { TOLD } from './identity.js';

/**
 * Takes nothing. Reply: for how long, in ms, the server has kept what it was told: since the note at the key
 * was made, if it was made by this very server since its start and its promotion. Makes it otherwise.
 */
export const KEPT = `
${TOLD}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ids = told('server', 'run_id') .. '/' .. told('replication', 'master_replid')
local note = redis.pcall('GET', key)
if type(note) == 'string' then
  local own, since = string.match(note, '^(%S+) (%d+)$')
  -- A user that may not ask who the server is has the note alone.
  if own == ids or (own and ids == '-/-') then return string.format('%.0f', math.max(0, now - since)) end
end
redis.call('SET', key, ids .. ' ' .. string.format('%.0f', now))
return '0'
`;
