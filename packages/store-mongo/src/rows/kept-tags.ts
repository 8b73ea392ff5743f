import type { ColumnTexts } from '@lockstep/core';
import type { AnyBulkWriteOperation, Collection, Document } from 'mongodb';
import { type Call, statementOptions } from '../wire/call.js';
import type { Binding } from './binding.js';

/*
 * The values of tags that a row had when an own write, or the relay, last dealt with it. They are kept beside the row, among
 * the tombstones: whoever changes, replaces or deletes the row does not touch them. So an own write that comes before the
 * relay has seen such a change still knows which lists the row was in.
 */

/** What is kept of one row. */
export interface KeptTags {
  /** States of the row, the newest last, each as JSON of its tags' texts. */
  readonly states: readonly string[];
  /** The row was deleted: what is kept of it expires, as tombstones do. */
  readonly expires: boolean;
}

interface KeptDocument extends Document {
  readonly _id: { readonly s: string; readonly k: string };
  readonly had: readonly string[];
  readonly at?: Date;
}

/** States that the relay leaves of a row: an own write leaves one. */
const MAX_STATES = 4;

/** The source of the documents: no database has such a name, so that none is taken for a tombstone, and no stream shows them. */
export function keptSource(source: string): string {
  return `$tags:${source}`;
}

function collectionOf({ tombstones }: Binding): Collection<KeptDocument> {
  return tombstones.collection as unknown as Collection<KeptDocument>;
}

const idOf = ({ source }: Binding, key: string): KeptDocument['_id'] => ({ s: keptSource(source), k: key });

/** A state of a row as it is kept. */
export function stateOfTexts({ declared }: Binding, texts: ColumnTexts): string {
  return JSON.stringify(Object.fromEntries(declared.tagged.map((field) => [field, texts[field] ?? null])));
}

/**
 * What is kept of rows, by key, outside of any transaction. A transaction that has begun before reads no less than what
 * was kept then: whoever changes a row together with what is kept of it makes the transaction conflict.
 */
export async function keptTags(
  binding: Binding,
  keys: readonly string[],
  { bound }: Call,
): Promise<ReadonlyMap<string, KeptTags>> {
  const found = await collectionOf(binding)
    .find(
      { _id: { $in: keys.map((key) => idOf(binding, key)) } },
      { ...statementOptions({ bound, session: undefined }), readConcern: { level: 'local' } },
    )
    .toArray();
  return new Map(found.map(({ _id, at, had }) => [_id.k, { states: had, expires: at !== undefined }]));
}

/**
 * The texts of kept states that are none of `known`. A field that was declared since has the value of the last of `known`:
 * that is told anyhow.
 */
export function keptTexts(
  binding: Binding,
  kept: KeptTags | undefined,
  known: readonly ColumnTexts[],
): ColumnTexts[] {
  if (kept === undefined) return [];
  const told = new Set(known.map((texts) => stateOfTexts(binding, texts)));
  return kept.states
    .filter((state) => !told.has(state))
    .map((state) => ({ ...known.at(-1), ...(JSON.parse(state) as ColumnTexts) }));
}

/** A row as an own write leaves it. */
export interface LeftRow {
  readonly key: string;
  /** `undefined`: it is gone. */
  readonly texts: ColumnTexts | undefined;
}

/** Keeps what own writes have left of rows, in their transaction, where that differs from what is kept. */
export async function leaveTags(
  binding: Binding,
  rows: readonly LeftRow[],
  kept: ReadonlyMap<string, KeptTags>,
  call: Call,
): Promise<void> {
  const operations = rows.flatMap(({ key, texts }): AnyBulkWriteOperation<KeptDocument>[] => {
    const filter = { _id: { $eq: idOf(binding, key) } };
    const known = kept.get(key);
    if (texts === undefined) {
      if (known === undefined || known.expires) return [];
      // Unless another write has left the row anew, as the relay may find.
      const same = { ...filter, had: { $eq: known.states } };
      return [{ updateOne: { filter: same, update: { $currentDate: { at: true } } } }];
    }
    const state = stateOfTexts(binding, texts);
    if (known?.expires === false && known.states.length === 1 && known.states[0] === state) return [];
    const update = { $set: { had: [state] }, $unset: { at: '' } };
    return [{ updateOne: { filter, update, upsert: true } }];
  });
  await writeKept(binding, operations, call);
}

/**
 * Adds what rows have now that other programs have changed, before the cache is told of the change: until then what they
 * had stays, too. What is kept of rows that are gone expires.
 */
export async function adoptTags(
  binding: Binding,
  rows: ReadonlyMap<string, ColumnTexts>,
  gone: readonly string[],
  call: Call,
): Promise<void> {
  const kept = await keptTags(binding, [...rows.keys(), ...gone], call);
  const added = [...rows].flatMap(([key, texts]): AnyBulkWriteOperation<KeptDocument>[] => {
    const state = stateOfTexts(binding, texts);
    const known = kept.get(key);
    if (known?.expires === false && known.states.at(-1) === state) return [];
    const update = { $push: { had: { $each: [state], $slice: -MAX_STATES } }, $unset: { at: '' } };
    return [
      {
        updateOne: { filter: { _id: { $eq: idOf(binding, key) } }, update: update as Document, upsert: true },
      },
    ];
  });
  const expiring = gone.flatMap((key) =>
    kept.get(key)?.expires === false ? [{ key, texts: undefined }] : [],
  );
  await writeKept(binding, added, call);
  await leaveTags(binding, expiring, kept, call);
}

async function writeKept(
  binding: Binding,
  operations: AnyBulkWriteOperation<KeptDocument>[],
  call: Call,
): Promise<void> {
  if (operations.length === 0) return;
  const ordered = call.session !== undefined;
  await collectionOf(binding).bulkWrite(operations, { ...statementOptions(call), ordered });
}
