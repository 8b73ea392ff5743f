import type { KeyColumn } from '../../keys/codec.js';
import type { TableInfo } from '../../sql/catalog.js';
import { identifier, literal } from '../../sql/quote.js';
import { ROWS, type TriggerSql } from './pieces.js';

/** The first id of objects that users make: those that come with the server have lower ones. */
const FIRST_OF_USERS = 16_384;

/** The types of `type`, an id, down to what a domain is based on: one of them comes with the server. */
const isOfServer = (type: string): string => `(
    WITH RECURSIVE base AS (
      SELECT ${type} AS oid UNION ALL
      SELECT t.typbasetype FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.oid AND t.typtype = 'd'
    ) SELECT pg_catalog.bool_or(base.oid < ${FIRST_OF_USERS}) FROM base)`;

/**
 * The body of a function that runs with its owner's rights, behind a look at the types of the columns that it reads
 * and sets. The table's owner may alter them: to a domain whose CHECK, or a type whose casts, are functions of
 * theirs, which would run with those rights.
 */
export function guarded(info: TableInfo, { body, event, rows }: TriggerSql): string {
  const row = event.endsWith('DELETE') ? 'OLD' : 'NEW';
  const unsafe = event.endsWith('TRUNCATE')
    ? unsafeRelation(info)
    : rows === undefined
      ? unsafeRow(info, row)
      : `EXISTS (SELECT FROM (SELECT * FROM ${ROWS} LIMIT 1) r WHERE ${unsafeRow(info, 'r')})`;
  return `
BEGIN
  IF ${unsafe} THEN
    RAISE EXCEPTION 'the types of the key, of declared columns or of the version column of % are others than when Lockstep was attached', ${literal(info.source)}
      USING ERRCODE = 'datatype_mismatch', HINT = 'Attach the table again.';
  END IF;${body};
END`;
}

/** An enum's text is made by the server's own function, which takes no other type. */
const isCast = ({ type }: KeyColumn): boolean => !type.toTextSql('').startsWith('pg_catalog.enum_out(');

function unsafeRow(info: TableInfo, row: string): string {
  const typeOf = (column: string): string =>
    `pg_catalog.pg_typeof(${row}.${identifier(column)})::pg_catalog.oid`;
  const keys = [...info.keyColumns, ...info.declared.columns].filter(isCast).map(({ column, type }) => {
    const isDomain = info.columns.find(({ name }) => name === column)?.sqlType !== type.sqlType;
    return isDomain ? `NOT ${isOfServer(typeOf(column))}` : `${typeOf(column)} >= ${FIRST_OF_USERS}`;
  });
  return [`${typeOf(info.spec.versionColumn)} <> 'pg_catalog.int8'::pg_catalog.regtype`, ...keys].join(
    ' OR ',
  );
}

function unsafeRelation(info: TableInfo): string {
  const keys = [...info.keyColumns, ...info.declared.columns]
    .filter(isCast)
    .map(({ column }) => literal(column));
  const inKey = keys.length === 0 ? 'false' : `a.attname IN (${keys.join(', ')})`;
  return `EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = TG_RELID AND NOT a.attisdropped AND (
    (a.attname = ${literal(info.spec.versionColumn)} AND a.atttypid <> 'pg_catalog.int8'::pg_catalog.regtype)
    OR (${inKey} AND NOT ${isOfServer('a.atttypid')})))`;
}
