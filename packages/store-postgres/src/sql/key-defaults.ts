import type { TableInfo } from './catalog.js';
import { equal, isIn } from './operators.js';
import { literal } from './quote.js';

/** What makes a value of a key column that an insert leaves out. */
export interface KeyDefault {
  /** An expression whose names are all qualified; `undefined`: nothing makes one. */
  readonly expression: string | undefined;
  /** Of an identity column: its sequence, qualified and quoted. */
  readonly sequence: string | undefined;
}

/** The defaults of a table's key columns, by column, and the mark that they have until one of them is another. */
export interface KeyDefaults {
  readonly mark: string;
  readonly byColumn: ReadonlyMap<string, KeyDefault>;
}

function fromKeyColumns({ keyColumns, oid }: TableInfo): string {
  const names = `ARRAY[${keyColumns.map(({ column }) => literal(column)).join(', ')}]::pg_catalog.name[]`;
  const ofColumn = `${equal('d.adrelid', 'a.attrelid')} AND ${equal('d.adnum', 'a.attnum')}`;
  return `FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON ${equal('t.oid', 'a.atttypid')}
LEFT JOIN pg_catalog.pg_attrdef d ON ${ofColumn}
WHERE ${equal('a.attrelid', `${oid}::pg_catalog.oid`)} AND ${isIn('a.attname', names)}`;
}

/** The mark as it is now. A default that is changed is another one. */
export function markSql(info: TableInfo): string {
  const parts = "pg_catalog.concat_ws('/', a.attname, a.attidentity, d.oid, t.typdefault)";
  return `(SELECT pg_catalog.string_agg(${parts}, ' ' ORDER BY a.attnum) ${fromKeyColumns(info)})`;
}

/** To be sent under Lockstep's own path, so that whatever is not of the catalogue is named with its schema. */
export function keyDefaultsSql(info: TableInfo): string {
  const sequence = `(SELECT pg_catalog.concat(pg_catalog.quote_ident(n.nspname), '.', pg_catalog.quote_ident(c.relname))
 FROM pg_catalog.pg_depend p JOIN pg_catalog.pg_class c ON c.oid = p.objid AND c.relkind = 'S'
 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE p.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND p.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
  AND p.refobjid = a.attrelid AND p.refobjsubid = a.attnum AND p.deptype = 'i')`;
  const expression = `CASE WHEN d.oid IS NULL THEN pg_catalog.pg_get_expr(t.typdefaultbin, 0)
 ELSE pg_catalog.pg_get_expr(d.adbin, d.adrelid) END`;
  return `SELECT a.attname AS name, ${expression} AS expression, ${sequence} AS sequence, ${markSql(info)} AS mark
${fromKeyColumns(info)}`;
}

export function keyDefaultsOf(rows: readonly Record<string, unknown>[]): KeyDefaults {
  const byColumn = new Map<string, KeyDefault>();
  for (const { expression, name, sequence } of rows) {
    const drawn = `pg_catalog.nextval(${literal(String(sequence))}::pg_catalog.regclass)`;
    const own = typeof expression === 'string' ? expression : undefined;
    byColumn.set(
      String(name),
      typeof sequence === 'string'
        ? { expression: drawn, sequence }
        : { expression: own, sequence: undefined },
    );
  }
  return { mark: String(rows[0]?.['mark']), byColumn };
}
