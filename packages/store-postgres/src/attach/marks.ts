import type { Run, TableInfo } from '../sql/catalog.js';
import { markText } from '../sql/catalog-query.js';
import { MAX_MARKS } from './attach.js';
import { writerFunction } from './triggers/pieces.js';

/** What the stamping trigger's condition says of roles, and their rights now. */
const MARKED = `
WITH d AS (
  SELECT pg_catalog.pg_get_triggerdef(g.oid) AS def FROM pg_catalog.pg_trigger g
  WHERE g.tgrelid = pg_catalog.to_regclass($1) AND g.tgname = '~lockstep_stamp'
), r AS (
  SELECT r.rolname, pg_catalog.has_function_privilege(r.oid, f, 'EXECUTE') AS may,
    strpos(d.def, ${markText('r.rolname', 'r.rolname', '$3::text')}) > 0 AS marked
  FROM d, pg_catalog.pg_roles r, pg_catalog.to_regprocedure($2) f
  WHERE f IS NOT NULL AND strpos(d.def, ' ALL (') > 0 AND strpos(r.rolname::text, E'\\n') = 0
)
SELECT string_agg(quote_ident(rolname), ', ' ORDER BY rolname) FILTER (WHERE marked AND NOT may) AS revoked,
  coalesce(bool_or(may AND NOT marked) AND count(*) FILTER (WHERE may) <= ${MAX_MARKS}, false) AS unmarked
FROM r`;

export interface Marks {
  /** Roles that pass the stamping trigger although they may not run Lockstep on the table any more; empty: none. */
  readonly revoked: string;
  /** True when roles that may run it don't pass, although there is room for their marks. */
  readonly unmarked: boolean;
}

/** Attach writes the marks; rights may be given and taken since. */
export async function marksOf(run: Run, info: TableInfo): Promise<Marks> {
  const [row] = await run(MARKED, [info.relation, `${writerFunction(info)}()`, info.source]);
  return { revoked: String(row?.['revoked'] ?? ''), unmarked: row?.['unmarked'] === true };
}
