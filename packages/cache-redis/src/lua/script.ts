import { createHash } from 'node:crypto';
import { BUFFER, FLUSHED } from './buffer.js';
import { HEADER } from './header.js';
import { KEPT } from './kept.js';
import { PROBE } from './probe.js';
import { FILL, LEASE, REFRESH } from './readers.js';
import { UNFLUSHED } from './unflushed.js';
import { INTEND, INVALIDATE, OVERWRITE, PUT, RELEASE, RESERVE } from './writers.js';

/** What marks a failed command's message among the replies of many: no other reply begins with it. */
export const FAILED = '!';

/**
 * One script makes every transition and keeps the index of unflushed keys, told by the first of its
 * arguments which. So a server has lost either all of the commands of a batch or none, and they can be
 * sent again without changing places. Functions stand where they are needed: each run makes those that
 * it comes past. The way that most puts go is kept short: of every write there is one.
 *
 * A run is of one kind of command. After the kind come the arguments of each key's command, equal in number.
 * With many keys the commands run in order, failing apart: a call costs the server more than a command does.
 */
export const LUA = `
local call, sub = redis.call, string.sub
local kind = ARGV[1]
if kind == 'unflushed' then ${UNFLUSHED} end
local NO_VERSION = '0000000000000000'
${OVERWRITE}
if kind == 'put' and #KEYS == 1 and overwritten(KEYS[1], 2) then return 'stored' end

-- The command's arguments are ARGV from 'from' to 'to'.
local function run(key, from, to)
${HEADER}
if kind == 'put' then ${PUT}
elseif kind == 'reserve' then ${RESERVE}
elseif kind == 'lease' then ${LEASE}
elseif kind == 'fill' then ${FILL}
elseif kind == 'invalidate' then ${INVALIDATE}
elseif kind == 'refresh' then ${REFRESH}
elseif kind == 'intend' then ${INTEND}
elseif kind == 'release' then ${RELEASE}
elseif kind == 'buffer' then ${BUFFER}
elseif kind == 'flushed' then ${FLUSHED}
elseif kind == 'probe' then ${PROBE}
elseif kind == 'kept' then ${KEPT}
end
end

if #KEYS == 1 then return run(KEYS[1], 2, #ARGV) end
local width = (#ARGV - 1) / #KEYS
local replies, from = {}, 2
for index, key in ipairs(KEYS) do
  if kind == 'put' and overwritten(key, from) then
    replies[index] = 'stored'
  else
    local done, reply = pcall(run, key, from, from + width - 1)
    if not done then reply = '${FAILED}' .. (type(reply) == 'table' and reply.err or tostring(reply)) end
    replies[index] = reply
  end
  from = from + width
end
return replies
`;

/** The name under which a server that has seen the script keeps it. */
export const SHA = createHash('sha1').update(LUA).digest('hex');
