import { SETTING_TX } from '../sql/stamp.js';
import { bare } from './pipeline.js';

const ROLLBACK = /^\s*(?:rollback|abort)\b/i;
const TO_SAVEPOINT =
  /^\s*rollback\s+(?:(?:work|transaction)\s+)?to\s+(?:savepoint\s+)?(?:"[^"]+"|[\w$]+)\s*;?\s*$/i;

/** True of a statement that a failed transaction still takes: to the savepoint before the failure, or of the whole. */
export const isRollback = (text: unknown): boolean => typeof text === 'string' && ROLLBACK.test(text);

/**
 * True of one that leaves the transaction open for certain. The server answers `ROLLBACK AND CHAIN` alike, which begins
 * another.
 */
export const isRollbackToSavepoint = (text: unknown): boolean =>
  typeof text === 'string' && TO_SAVEPOINT.test(text);

/** Asks for what was set with the BEGIN, for as long as that transaction lasts: `own`. */
export const IS_OWN = bare(`SELECT pg_catalog.current_setting('${SETTING_TX}', true) AS own`);
