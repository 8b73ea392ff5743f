import type { Change } from '@lockstep/core';
import type { Document } from 'mongodb';
import type { Binding } from '../rows/binding.js';
import { statesOf } from '../rows/declared.js';
import { statesAt } from '../rows/states-at.js';
import { CallBound } from '../wire/bound.js';
import type { FeedEvent } from './events.js';

/** The bound of one batch, in ms. */
const TIMEOUT_MS = 10_000;

/**
 * Changes of a collection with the values of fields that its consumers name: what the rows had, as far as the events tell, and
 * what they have now, which is at least as new.
 *
 * @param before documents as they were before a change, by key
 */
export async function withTexts(
  binding: Binding,
  changes: readonly Change[],
  fields: readonly string[],
  before: ReadonlyMap<string, readonly Document[]> = new Map(),
): Promise<readonly Change[]> {
  if (fields.length === 0 || changes.length === 0) return changes;
  const { name } = binding;
  const bound = new CallBound(`${name}: values of changed rows`, { timeoutMs: TIMEOUT_MS });
  const keys = [...new Set(changes.map(({ key }) => key))];
  const now = await bound.race(statesAt(binding, keys, fields, { bound, session: undefined }));
  return changes.map((change) => {
    const had = (before.get(change.key) ?? []).flatMap((document) => statesOf(binding, document, fields));
    return { ...change, texts: [...had, ...(now.get(change.key) ?? [])] };
  });
}

/** As {@link withTexts}, of changes of several collections, by the events that told of them. */
export async function toldOf(
  bindings: ReadonlyMap<string, Binding>,
  events: readonly FeedEvent[],
  changes: readonly Change[],
  columns: (source: string) => readonly string[],
): Promise<readonly Change[]> {
  const told = [...Map.groupBy(changes, ({ source }) => source)].map(async ([source, own]) => {
    const binding = bindings.get(source);
    if (binding === undefined) return own;
    const before = new Map<string, Document[]>();
    for (const event of events) {
      if (event.kind !== 'before' || event.source !== source) continue;
      before.set(event.key, [...(before.get(event.key) ?? []), event.before]);
    }
    return await withTexts(binding, own, columns(source), before);
  });
  return (await Promise.all(told)).flat();
}
