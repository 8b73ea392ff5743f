import type { Run, TableInfo } from '../sql/catalog.js';

const DATES = ['date', 'timestamp', 'timestamptz'];
const RANGES = ['daterange', 'tsrange', 'tstzrange', 'datemultirange', 'tsmultirange', 'tstzmultirange'];

/** Settings of a session that decide on the texts of values, and those under which pg reads what was stored. */
const SETTINGS = [
  { name: 'DateStyle', types: new Set([...DATES, ...RANGES]), reads: /^ISO\b/, wanted: 'ISO' },
  { name: 'IntervalStyle', types: new Set(['interval']), reads: /^postgres$/, wanted: 'postgres' },
  { name: 'extra_float_digits', types: new Set(['float4', 'float8']), reads: /^[1-9]/, wanted: '1' },
] as const;

/** What processes with other settings would read otherwise, and share a cache with; with what mends it. */
export async function textWarnings(run: Run, { columns, source }: TableInfo): Promise<string[]> {
  // An array's name is its elements', behind a low line.
  const plain = columns.map(({ name, typeId }) => ({ name, type: typeId.replace(/^pg_catalog\._?/, '') }));
  const concerned = SETTINGS.map((setting) => ({
    ...setting,
    columns: plain.filter(({ type }) => setting.types.has(type)).map(({ name }) => `"${name}"`),
  })).filter((setting) => setting.columns.length > 0);
  if (concerned.length === 0) return [];
  const asked = concerned.map(({ name }) => `pg_catalog.current_setting('${name}') AS "${name}"`);
  const [row] = await run(`SELECT ${asked.join(', ')}`);
  return concerned.flatMap(({ columns: found, name, reads, wanted }) => {
    const is = String(row?.[name]);
    if (reads.test(is)) return [];
    return `${source}: ${name} of this session is '${is}', so that ${found.join(', ')} may be read as other values than were stored, and cached for processes that read them right: ALTER ROLE CURRENT_USER SET ${name} TO '${wanted}', and in the connection's own settings`;
  });
}
