import { StoreInsecureError, type StoreOpenOptions, StoreSetupError } from '@lockstep/core';
import { insecureTables } from '../attach/guard.js';
import { marksOf } from '../attach/marks.js';
import { storeError } from '../errors.js';
import type { Run, TableInfo } from '../sql/catalog.js';
import { warningsOf } from './requirements.js';

/** Tells `onWarning` what is to be mended of a table that can be used all the same. `name`: the table's, for messages. */
export async function warn(
  run: Run,
  info: TableInfo,
  name: string,
  { onWarning }: StoreOpenOptions,
): Promise<void> {
  try {
    const insecure = await insecureTables(run, [info.source]);
    for (const message of insecure) onWarning?.(new StoreInsecureError(`${name}: ${message}`));
    const { revoked } = await marksOf(run, info);
    if (revoked !== '') {
      const message = `${name}: ${revoked} may not run Lockstep any more, and passes its triggers all the same: attach again (pg.attach(table), or the migration that pg.migration() gives)`;
      onWarning?.(new StoreInsecureError(message));
    }
    for (const message of await warningsOf(run, info)) onWarning?.(new StoreSetupError(message));
  } catch (error) {
    throw storeError(error, `${name}: open`, false);
  }
}
