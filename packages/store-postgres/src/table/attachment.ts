import { InvalidOptionError } from '@lockstep/core';
import { type Attached, fingerprintOf, readAttached } from '../attach/attach.js';
import { type TriggerSql, writerFunction } from '../attach/triggers/pieces.js';
import { formerNameOf, triggersOf } from '../attach/triggers/triggers.js';
import { storeError } from '../errors.js';
import {
  assertSeen,
  describeTable,
  type Run,
  type TableInfo,
  type TableSpec,
  tableKeySql,
} from '../sql/catalog.js';
import { withDeclared } from '../sql/declared.js';
import { assertRights, assertTriggersFire, grantsSql } from './requirements.js';

/** Settings of a role that attach does not know change nothing: what it writes would be taken for a foreign write. */
export async function assertWriter(run: Run, info: TableInfo): Promise<void> {
  const [row] = await run(WRITERS, [`${writerFunction(info)}()`]);
  if (row?.['strangers'] === null) return;
  throw new InvalidOptionError(
    'table',
    `${info.source}: attach does not know ${String(row?.['strangers'])} as a role that runs Lockstep: name it in pg.attach(table, { grantTo: […] }), or, as the role that attached the table: ${grantsSql(info, String(row?.['strangers']))}`,
  );
}

/** The session's roles that may not write through Lockstep; none before the right was recorded. */
const WRITERS = `SELECT pg_catalog.string_agg(DISTINCT pg_catalog.quote_ident(r.name), ', ') AS strangers
FROM (VALUES (current_user), (session_user)) r(name), pg_catalog.to_regprocedure($1) f
WHERE f IS NOT NULL AND NOT pg_catalog.has_function_privilege(r.name, f, 'EXECUTE')`;

/** Without what a later release only says in other words. */
function plainKeySql(sql: string): string {
  return sql
    .replaceAll(/OPERATOR\(pg_catalog\.(.+?)\)/g, '$1')
    .replaceAll(/pg_catalog\.enum_out\((.+?)\)::/g, '$1::')
    .replaceAll(/[()]/g, '');
}

export async function assertAttached(run: Run, info: TableInfo): Promise<Attached> {
  assertSeen(info);
  const attached = await readAttached(run, info);
  const advice = 'run attach for it (pg.attach(table), or the migration that pg.migration() gives)';
  if (attached === undefined) throw notAttached(info, advice);
  const wanted = info.keyColumns.map((key) => key.column).join(', ');
  if (attached.keyColumns.join(', ') !== wanted || attached.versionColumn !== info.spec.versionColumn) {
    throw new InvalidOptionError(
      'key',
      `${info.source} is attached with key (${attached.keyColumns.join(', ')}) and version column "${attached.versionColumn}", not (${wanted}) and "${info.spec.versionColumn}": bind it with those, or detach it (pg.detach(table)) and attach it again`,
    );
  }
  if (!info.hasVersion) throw notAttached(info, advice);
  assertTriggersFire(info);
  const { tags = [], unique = [] } = attached.declared;
  // Attached by a release that gave them other names, the table is kept in step until it is attached again.
  const isThere = ({ name }: TriggerSql): boolean =>
    info.triggers.includes(name) || info.triggers.includes(formerNameOf(name));
  // All of those that see statements may be gone.
  const inBulk = { ...info, bulk: true };
  const bulk = info.bulk || attached.fingerprint === fingerprintOf(inBulk);
  const missing = triggersOf(bulk ? inBulk : info).filter((trigger) => !isThere(trigger));
  if (missing.length > 0) {
    const names = missing.map((trigger) => trigger.name).join(', ');
    throw new InvalidOptionError('table', `${info.source} lacks the triggers ${names}: ${advice}`);
  }
  if (!attached.hasRegistry) {
    throw new InvalidOptionError(
      'table',
      `${info.source} was attached by an earlier release, which did not record the caches of a table: ${advice}`,
    );
  }
  if (plainKeySql(attached.keySql) !== plainKeySql(tableKeySql(info, 't'))) {
    throw new InvalidOptionError(
      'key',
      `the key columns of ${info.source} changed their type since it was attached: ${advice}`,
    );
  }
  const gone = [...unique, ...tags].flat().find((name) => !info.columns.some((each) => each.name === name));
  if (gone !== undefined) {
    throw new InvalidOptionError(
      'table',
      `${info.source} has no column "${gone}" any more, whose values each change tells, so that every write of it fails: ${advice}`,
    );
  }
  return attached;
}

function notAttached({ source }: TableInfo, advice: string): InvalidOptionError {
  return new InvalidOptionError('table', `${source} is not attached to Lockstep: ${advice}`);
}

/** A table as it is now. */
export interface DescribedTable {
  readonly info: TableInfo;
  /** Why it is not kept in step any more; empty: it is. */
  readonly problem: string;
}

/**
 * Reads a table from the catalogue. Throws `InvalidOptionError` where it is not attached as it is bound, or can't be kept in
 * step; of a table that is open already that is only told (`again`).
 */
export async function describeAttached(
  run: Run,
  spec: TableSpec,
  name: string,
  again: boolean,
): Promise<DescribedTable> {
  try {
    const info = await describeTable(run, spec, again);
    try {
      await assertRights(run, info);
      await assertWriter(run, info);
      const { declared, findsOthers } = await assertAttached(run, info);
      return { info: { ...withDeclared(info, declared), findsOthers }, problem: '' };
    } catch (error) {
      if (again && error instanceof InvalidOptionError) return { info, problem: error.message };
      throw error;
    }
  } catch (error) {
    throw error instanceof InvalidOptionError ? error : storeError(error, `${name}: open`, false);
  }
}
