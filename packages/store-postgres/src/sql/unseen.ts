import type { RawTable } from './catalog-query.js';

/**
 * Why rows of the table may change without any trigger that could tell, and the statement that mends it; `undefined`
 * where none can.
 */
export function unseenChanges(
  { children, forced, foreignParts, unlogged }: RawTable,
  relation: string,
): string | undefined {
  const each = (relations: readonly string[], change: string): string =>
    relations.map((one) => `ALTER TABLE ${one} ${change}`).join('; ');
  if (unlogged !== null) {
    return `${unlogged.join(', ')} is temporary or unlogged: its rows are gone after a crash, and nothing tells the cache; ${each(unlogged, 'SET LOGGED')}`;
  }
  if (forced !== null) {
    return `${forced.join(', ')} forces row-level security on its owner: TRUNCATE and replays would pass over rows that a policy hides; ${each(forced, 'NO FORCE ROW LEVEL SECURITY')}, or attach as a role with BYPASSRLS`;
  }
  if (foreignParts !== null) {
    const detach = foreignParts.map((part) => `ALTER TABLE ${relation} DETACH PARTITION ${part}`).join('; ');
    return `its partition ${foreignParts.join(', ')} is a foreign table, whose rows change unseen: ${detach}`;
  }
  return children === null
    ? undefined
    : `${children.join(', ')} inherits from it: its rows are not seen, and a key may be in both tables; ${each(children, `NO INHERIT ${relation}`)}`;
}
