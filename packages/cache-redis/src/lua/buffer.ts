import { beyondBelief, CLOCK, NO_TIME, NO_VERSION } from './entry.js';

/**
 * ARGV: notAfterMs, state (V or A), payload.
 * Reply: the version, in 16 digits; late; unfit.
 * Rule 8: numbered above what it stands on and above the clock, oddly. The sum and `%.0f` are exact up to 2^53, which
 * is far beyond what is believed.
 */
export const BUFFER = `
local notAfterMs, letter, payload = unpack(ARGV, from, to)
${CLOCK}
if math.floor(nowUs / 1000) > tonumber(notAfterMs) then return 'late' end
if not isValue or known == ${NO_VERSION} then return 'unfit' end
local version = math.max(known + 1, nowUs)
if version % 2 == 0 then version = version + 1 end
if ${beyondBelief('version')} then return 'unfit' end
local digits = string.format('%016.0f', version)
-- Without a TTL, so that volatile policies keep it, too.
redis.call('SET', key, letter .. 'U' .. digits .. ${NO_TIME} .. payload)
return digits
`;
