import type { ColumnTexts } from '@lockstep/core';

/**
 * The texts in pairs of JSON objects, of a row before and after a change. `undefined`: none are told. Roles that run Lockstep
 * on a table write its records themselves: what is no text is left out.
 */
export function textsIn(pairs: string | null | undefined): readonly ColumnTexts[] | undefined {
  if (pairs === null || pairs === undefined) return undefined;
  const states: unknown[] = (JSON.parse(pairs) as unknown[]).flat();
  const texts = new Map<string, ColumnTexts>();
  for (const state of states) {
    if (typeof state !== 'object' || state === null) continue;
    const own = Object.entries(state).filter(([, text]) => text === null || typeof text === 'string');
    texts.set(JSON.stringify(own), Object.fromEntries(own) as ColumnTexts);
  }
  return [...texts.values()];
}
