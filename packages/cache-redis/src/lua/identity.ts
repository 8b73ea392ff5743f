/** The server's own name for itself, new with each start, and its replication's, new with each promotion. */
export const TOLD = `
local function told(section, field)
  local text = redis.pcall('INFO', section)
  return type(text) == 'string' and string.match(text, field .. ':(%w+)') or '-'
end
`;
