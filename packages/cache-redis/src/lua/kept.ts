import { CLOCK } from './entry.js';
import { TOLD } from './probe.js';

/**
 * ARGV: nothing that counts.
 * Reply: for how long, in ms, the server has kept what it was told: since the note at the key was made, if it was
 * made by this very server since its start and its promotion. Makes it otherwise.
 */
export const KEPT = `
${CLOCK}${TOLD}
local nowMs = math.floor(nowUs / 1000)
local ids = told('server', 'run_id') .. '/' .. told('replication', 'master_replid')
local own, since = string.match(stored, '^(%S+) (%d+)$')
-- A user that may not ask who the server is has the note alone.
if own == ids or (own and ids == '-/-') then return string.format('%.0f', math.max(0, nowMs - since)) end
redis.call('SET', key, ids .. ' ' .. string.format('%.0f', nowMs))
return '0'
`;
