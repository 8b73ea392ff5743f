import type { TableInfo } from '../../sql/catalog.js';
import {
  isNotStampedSql,
  isStampedSql,
  SETTING_DEADLINE,
  SETTING_DELETE_BASE,
  SETTING_DELETE_EXACT,
  SETTING_MOVED,
  SETTING_STAMPED,
  SETTING_TX,
} from '../../sql/stamp.js';
import { recordDeleteBody, recordTruncateBody } from './delete.js';
import { checkMoveBody, recordInsertBody, restampBody } from './insert.js';
import { NOT_ORIGIN, namesOf, recordsByStatement, setting, settingsSql, type TriggerSql } from './pieces.js';
import { stampBody } from './stamp.js';
import { recordDeletesBody, recordInsertsBody, recordUpdatesBody, restampInsertsBody } from './together.js';

/**
 * The placeholder for the marks of statements that stamp and record their rows: an array of texts, one for each pair of
 * roles.
 */
export const MARKS = "'{lockstep marks}'";

/** Separates the parts of a mark. A role or table whose name has it gets no mark: no two sessions may share one. */
export const MARK_SEPARATOR = "E'\\n'";

/**
 * False in a statement that stamps and records its own rows: of a session whose roles (the one that logged in and the
 * one that it became) run Lockstep on the table, and has said so for this table, and not in what users' triggers write
 * on its behalf, which is deeper. One comparison of one text: the server reads a condition anew for each statement,
 * and pays for each part of it. A condition that asks for rights, or hashes a secret, would cost every row several
 * times as much. Of a role that has the right by a
 * membership that attach has not seen it is true: its statements leave both to the trigger until the next attach. Of one
 * whose right was taken away it is false until then: `open` warns.
 */
const needsTrigger = `(pg_catalog.concat_ws(${MARK_SEPARATOR}, SESSION_USER, CURRENT_USER, pg_catalog.pg_trigger_depth(), ${setting(SETTING_STAMPED)}) OPERATOR(pg_catalog.<>) ALL (${MARKS}::pg_catalog.text[]))`;

/** As {@link needsTrigger}, where rows of others come in bulk: they have said nothing, and are spared the rest. */
const needsTriggerInBulk = `(coalesce(${setting(SETTING_STAMPED)}, '') OPERATOR(pg_catalog.=) '' OR ${needsTrigger})`;

/** True where triggers fire as in replication: a subscription's apply worker fires those of rows alone. */
const inReplication = `(${setting('session_replication_role')} OPERATOR(pg_catalog.<>) 'origin')`;

/**
 * The triggers of one table. All stamping happens under the row's lock, in the statement that writes,
 * so that per row the order of versions is the order of commits: by row triggers, which are cloned to every partition, and
 * exact under ON CONFLICT, COPY, MERGE and cascades, and cheapest for a lone write. Of a table that is attached for bulk
 * statements what others have written is recorded at the end of theirs, all rows together, but where only the triggers of
 * rows fire.
 *
 * One trigger stamps, and records what it updates. It fires after users' own (in the order of names), which
 * may change the row or drop it. Conditions spare our own puts the calls: few and short ones, since
 * the server prepares each anew for each statement. What is inserted is recorded afterwards: of a row
 * that is proposed nobody knows yet whether it will be. Of the triggers that fire afterwards, for each row, ours are the
 * first: users' own may delete the row, or bring a deleted one back, and what they write is stamped and recorded after it.
 */
export function triggersOf(info: TableInfo): TriggerSql[] {
  const { newVersion } = namesOf(info);
  const together = recordsByStatement(info);
  const own = [SETTING_TX, SETTING_DEADLINE, SETTING_DELETE_BASE, SETTING_DELETE_EXACT];
  const condition = together ? needsTriggerInBulk : needsTrigger;
  // Where columns are declared, of every row: only the trigger sees what they held, but for puts where the server returns that.
  const whenNeeded = info.declared.columns.length === 0 ? { when: condition } : {};
  return [
    {
      name: '~lockstep_stamp',
      event: 'BEFORE INSERT OR UPDATE',
      level: 'ROW',
      ...(info.returnsOld ? { when: condition } : whenNeeded),
      body: stampBody(info),
    },
    // A row that comes with the version of a stamping statement has passed the trigger above, which checks who may.
    {
      name: '!lockstep_record_insert',
      event: 'AFTER INSERT',
      level: 'ROW',
      when: together ? `${inReplication} AND ${isNotStampedSql(newVersion)}` : isNotStampedSql(newVersion),
      looksUp: true,
      body: recordInsertBody(info),
    },
    // After the one before: by their names, which is the order in which a row's triggers fire. A condition would cost
    // more than the call.
    {
      name: '!lockstep_restamp',
      event: 'AFTER INSERT',
      level: 'ROW',
      ...(together ? { when: `${isStampedSql(newVersion)} OR ${inReplication}` } : {}),
      asWriter: true,
      body: restampBody(info),
    },
    // No mention of the key's columns, which would keep their types from being altered.
    {
      name: '!lockstep_check_move',
      event: 'AFTER UPDATE',
      level: 'ROW',
      // As short as can be: once a session has moved a key, it is called for nothing.
      when: `${setting(SETTING_MOVED)} IS NOT NULL`,
      looksUp: true,
      body: checkMoveBody(info),
    },
    {
      name: '!lockstep_record_delete',
      event: 'AFTER DELETE',
      level: 'ROW',
      ...(together ? { when: `${settingsSql(...own, NOT_ORIGIN)} OPERATOR(pg_catalog.<>) ''` } : whenNeeded),
      body: recordDeleteBody(info),
    },
    ...(together ? statementTriggersOf(info) : []),
  ];
}

/**
 * The triggers that see all rows of a statement. They fire by their names, too: what is below its tombstone is found, then
 * raised. Of a statement that records its own rows none is called, and of one in replication none is needed.
 */
function statementTriggersOf(info: TableInfo): TriggerSql[] {
  const notInReplication = `NOT ${inReplication}`;
  const when = `${needsTriggerInBulk} AND ${notInReplication}`;
  return [
    {
      name: 'lockstep_record_inserts',
      event: 'AFTER INSERT',
      level: 'STATEMENT',
      rows: 'NEW',
      when,
      looksUp: true,
      body: recordInsertsBody(info),
    },
    {
      name: 'lockstep_restamp_inserts',
      event: 'AFTER INSERT',
      level: 'STATEMENT',
      rows: 'NEW',
      when,
      asWriter: true,
      body: restampInsertsBody(info),
    },
    {
      name: 'lockstep_record_updates',
      event: 'AFTER UPDATE',
      level: 'STATEMENT',
      rows: 'NEW',
      when,
      body: recordUpdatesBody(info),
    },
    {
      name: 'lockstep_record_deletes',
      event: 'AFTER DELETE',
      level: 'STATEMENT',
      rows: 'OLD',
      when,
      body: recordDeletesBody(info),
    },
    {
      // Does nothing, and is there for what the server says of it: with such a trigger the table can't become a partition
      // or inherit, where statements on the parent would write its rows without firing the triggers above.
      name: 'lockstep_detach_before_it_inherits',
      event: 'AFTER DELETE',
      level: 'ROW',
      rows: 'OLD',
      when: 'false',
      asWriter: true,
      body: '\nBEGIN\n  RETURN NULL;\nEND',
    },
  ];
}

/** What earlier releases called a trigger. */
export const formerNameOf = (name: string): string => name.replace(/^!/, '');

/** The triggers that earlier releases gave other names. */
export const FORMER_NAMES = [
  'lockstep_record_insert',
  'lockstep_restamp',
  'lockstep_check_move',
  'lockstep_record_delete',
] as const;

/** The triggers that a table has only where rows are recorded together; none where it has them. */
export function otherTriggersOf(info: TableInfo): TriggerSql[] {
  return recordsByStatement(info) ? [] : statementTriggersOf(info);
}

/** The trigger that records every row of a table (or of one leaf partition) about to be truncated. */
export function truncateTriggerOf(info: TableInfo): TriggerSql {
  const body = recordTruncateBody(info);
  return { name: 'lockstep_record_truncate', event: 'BEFORE TRUNCATE', level: 'STATEMENT', body };
}
