import { HOLE, RAISE } from './hole.js';
import { TOLD } from './identity.js';

/**
 * Takes holeTtlMs. Reply: the clock in ms, the run id and the replication id, each `-` where the server does
 * not say. Writes the floor of an invalidation, so that it meets what one would meet: a full server lets it
 * pass, one that refuses writes does not.
 */
export const PROBE = `
${HOLE}${RAISE}
writeFloor({ floor = NO_VERSION, absent = false, intents = {}, ttlMs = tonumber(ARGV[from]) })
${TOLD}
local time = redis.call('TIME')
local nowMs = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
return nowMs .. ' ' .. told('server', 'run_id') .. ' ' .. told('replication', 'master_replid')
`;
