import type { TableInfo } from '../../sql/catalog.js';
import {
  believedSql,
  ifBelievedSql,
  isForeignSql,
  microsSql,
  nextForeignSql,
  nextOwnSql,
  SETTING_BELOW,
  SETTING_DEADLINE,
  SETTING_MOVED,
  SETTING_STAMPED,
  SETTING_TX,
} from '../../sql/stamp.js';
import {
  believesSession,
  NOT_ORIGIN,
  namesOf,
  noneSet,
  notifyWhere,
  recordDelete,
  recordOf,
  recordsByStatement,
  refuseIfLate,
  refuseUnbelieved,
  setting,
  stampByTransaction,
} from './pieces.js';

/** True in `repair`, of a role whose mark the trigger's condition does not have. */
const isRepair = (info: TableInfo): string =>
  `pg_catalog.pg_trigger_depth() = 1 AND ${setting(SETTING_STAMPED)} = ${namesOf(info).source} AND ${believesSession(info)}`;

/**
 * Stamps what is inserted or updated, and records what is updated. Foreign writes outside Lockstep's transactions
 * take the short way: as few expressions as can be, since plpgsql prepares each anew in each transaction.
 */
export function stampBody(info: TableInfo): string {
  const { newKey, newVersion, oldKey, oldVersion, source } = namesOf(info);
  const clock = microsSql();
  const asked = `(-${newVersion} - 2) / 2`;
  const together = recordsByStatement(info);
  // The statement's own trigger records whatever gets a version of others', but where it does not fire.
  const shortWay = noneSet(
    SETTING_TX,
    SETTING_DEADLINE,
    SETTING_BELOW,
    ...(together ? ([NOT_ORIGIN] as const) : []),
  );
  const record = `
    INSERT INTO lockstep.outbox ${recordOf(info, { version: 'recorded', key: 'new_key', op: 'p' }, { before: 'OLD', after: 'NEW' })};${notifyWhere(isForeignSql('recorded'))}`;
  const recordHere = `
      INSERT INTO lockstep.outbox ${recordOf(info, { version: newVersion, key: newKey, op: 'p' }, { before: 'OLD', after: 'NEW' })};${notifyWhere('true')}`;
  return `
DECLARE
  new_key pg_catalog.text;
  old_key pg_catalog.text;
  base pg_catalog.int8;
  recorded pg_catalog.int8;
  gone pg_catalog.int8;
BEGIN
  IF ${newVersion} >= 0 AND ${shortWay} THEN
    IF TG_OP = 'INSERT' THEN
      ${newVersion} := ${nextForeignSql(clock)};
      RETURN NEW;
    ELSIF ${believedSql(oldVersion)} AND ${newKey} = ${oldKey} THEN
      ${newVersion} := ${nextForeignSql(`greatest(${oldVersion}, ${clock})`)};${together ? '' : recordHere}
      RETURN NEW;
    END IF;
  END IF;
  -- Only Lockstep asks for a version; and nobody for one that is far ahead of the clock.
  IF ${newVersion} IS NULL OR (${newVersion} < 0 AND (${newVersion} IS NOT DISTINCT FROM ${oldVersion} OR NOT ${believesSession(info)})) THEN ${newVersion} := 0; END IF;
  IF TG_OP = 'INSERT' THEN
    IF ${newVersion} < 0 THEN
      IF ${newVersion} % 2 = 0 THEN
        ${newVersion} := ${nextOwnSql(`greatest(${ifBelievedSql(asked)}, ${clock})`)};
      ELSE
        ${newVersion} := (-${newVersion} - 1) / 2;${refuseUnbelieved(newVersion, 'this write has a version that is not to be believed')}
        -- A buffered write must not bring back what was deleted after it.
        IF EXISTS (SELECT FROM lockstep.tombstone t WHERE t.source = ${source} AND t.key = ${newKey}
                   AND t.version >= ${newVersion} AND ${believedSql('t.version')}) THEN
          RETURN NULL;
        END IF;
      END IF;
    ELSE${stampByTransaction(info, newVersion, clock)}
    END IF;
    RETURN NEW;
  END IF;${refuseIfLate(info)}
  new_key := ${newKey};
  old_key := ${oldKey};
  base := ${ifBelievedSql(oldVersion)};
  IF base IS NULL THEN
    -- Only repair brings a version down. Until then the row can be changed, and is not cached.
    IF ${newVersion} < 0 THEN${refuseUnbelieved(oldVersion, 'the row has a version that is not to be believed: repair the table')}
    END IF;
    ${newVersion} := CASE WHEN ${isRepair(info)} THEN ${nextForeignSql(clock)} ELSE ${oldVersion} END;
    recorded := ${nextForeignSql(clock)};
  ELSIF ${newVersion} >= 0 THEN
    IF new_key <> old_key OR ${setting(SETTING_BELOW)} = 'yes' THEN
      PERFORM pg_catalog.set_config('${SETTING_BELOW}', '', true);
      SELECT greatest(base, pg_catalog.max(t.version)) INTO base FROM lockstep.tombstone t
        WHERE t.source = ${source} AND t.key = new_key AND ${believedSql('t.version')};
    END IF;${stampByTransaction(info, newVersion, `greatest(base, ${clock})`)}
  ELSIF ${newVersion} % 2 = 0 THEN
    ${newVersion} := ${nextOwnSql(`greatest(base, ${ifBelievedSql(asked)}, ${clock})`)};
  ELSE
    ${newVersion} := (-${newVersion} - 1) / 2;${refuseUnbelieved(newVersion, 'this write has a version that is not to be believed')}
    IF ${newVersion} <= base THEN RETURN NULL; END IF;
  END IF;
  recorded := coalesce(recorded, ${newVersion});
${
  together
    ? `  IF NOT ${isForeignSql('recorded')} OR recorded <> ${newVersion} OR NOT ${noneSet(NOT_ORIGIN)} THEN${record}
  END IF;`
    : record
}
  -- A change of the key is a delete of the old one.
  IF new_key <> old_key THEN
    gone := greatest(base, ${clock});${stampByTransaction(info, 'gone', 'gone')}${recordDelete(info, 'old_key', 'gone')}
    PERFORM pg_catalog.set_config('${SETTING_MOVED}', 'yes', true);
  END IF;
  RETURN NEW;
END`;
}
