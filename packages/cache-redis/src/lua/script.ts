import { createHash } from 'node:crypto';
import { BUFFER } from './buffer.js';
import { ENTRY, STORED } from './entry.js';
import { FILL } from './fill.js';
import { FLUSHED } from './flushed.js';
import { INTEND } from './intend.js';
import { INVALIDATE } from './invalidate.js';
import { KEPT } from './kept.js';
import { LEASE } from './lease.js';
import { NOTICES } from './notices.js';
import { PROBE } from './probe.js';
import { OVERWRITE, PUT } from './put.js';
import { REFRESH } from './refresh.js';
import { RELEASE } from './release.js';
import { RESERVE } from './reserve.js';
import { TAG } from './tag.js';
import { UNFLUSHED_INDEX } from './unflushed-index.js';

/** The mark of a failed command's message among the replies of many: no other reply begins with it. */
export const FAILED = '!';

/**
 * One script makes every transition (`protocol/transitions.ts` of core, in the same order) and keeps the index of
 * unflushed keys. One, so that a server has lost either all commands of a batch or none, and they can be sent again
 * without changing places.
 *
 * KEYS: one for each command. ARGV: the kind, the same for all; then the arguments of each command, equal in number.
 * Reply: the command's; of several keys, a list of theirs. Commands run in order and fail apart.
 *
 * Each file here is the body of one kind of command: of `key`, with the arguments ARGV from `from` to `to`, and with
 * what `entry.ts` found there. A run pays for each function that it declares and each local that one captures, about
 * 50 ns, and for each call of the server 500, as much as for an empty script: so functions are declared on the paths
 * that need them.
 */
export const LUA = `
local nowUs
local function run(kind, key, from, to)
${STORED}
if kind == 'put' then ${OVERWRITE} end
${ENTRY}
if kind == 'reserve' then ${RESERVE}
elseif kind == 'intend' then ${INTEND}
elseif kind == 'put' then ${PUT}
elseif kind == 'refresh' then ${REFRESH}
elseif kind == 'invalidate' then ${INVALIDATE}
elseif kind == 'lease' then ${LEASE}
elseif kind == 'fill' then ${FILL}
elseif kind == 'release' then ${RELEASE}
elseif kind == 'buffer' then ${BUFFER}
elseif kind == 'flushed' then ${FLUSHED}
elseif kind == 'tag' then ${TAG}
elseif kind == 'probe' then ${PROBE}
elseif kind == 'kept' then ${KEPT}
end
end

local kind = ARGV[1]
if kind == 'unflushed' then ${UNFLUSHED_INDEX} end
if kind == 'notices' then ${NOTICES} end
if #KEYS == 1 then return run(kind, KEYS[1], 2, #ARGV) end
local width = (#ARGV - 1) / #KEYS
local replies, from = {}, 2
for index, key in ipairs(KEYS) do
  local done, reply = pcall(run, kind, key, from, from + width - 1)
  if not done then reply = '${FAILED}' .. (type(reply) == 'table' and reply.err or tostring(reply)) end
  replies[index] = reply
  from = from + width
end
return replies
`;

/** The name under which a server that has seen the script keeps it. */
export const SHA = createHash('sha1').update(LUA).digest('hex');
