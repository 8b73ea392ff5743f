import { createHash } from 'node:crypto';
import { HEADER } from './header.js';
import { FILL, LEASE, REFRESH } from './readers.js';
import { INTEND, INVALIDATE, PUT, RELEASE, RESERVE } from './writers.js';

/**
 * One script makes every transition, told by ARGV[1] which. So a server has lost either all of the
 * commands of a batch or none, and they can be sent again without changing places. Functions stand
 * where they are needed: each run of the script makes those that it comes past.
 */
export const LUA = `${HEADER}
local kind = ARGV[1]
if kind == 'reserve' then ${RESERVE}
elseif kind == 'put' then ${PUT}
elseif kind == 'lease' then ${LEASE}
elseif kind == 'fill' then ${FILL}
elseif kind == 'invalidate' then ${INVALIDATE}
elseif kind == 'refresh' then ${REFRESH}
elseif kind == 'intend' then ${INTEND}
elseif kind == 'release' then ${RELEASE}
end
`;

/** The name under which a server that has seen the script keeps it. */
export const SHA = createHash('sha1').update(LUA).digest('hex');
