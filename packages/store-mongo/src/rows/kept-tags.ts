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
  /** What the row was in turn, the newest last, each as JSON of its states by the texts of tags. */
  readonly had: readonly string[];
  /** The row was deleted: what is kept of it expires, as tombstones do. */
  readonly expires: boolean;
}

interface KeptDocument extends Document {
  readonly _id: { readonly s: string; readonly k: string };
  readonly had: readonly string[];
  readonly at?: Date;
}

/** How much the relay leaves of a row: an own write leaves one. */
const MAX_HAD = 4;

/** In the place of texts that are not known. */
const UNTOLD = 0;

/** The source of the documents: no database has such a name, so that none is taken for a tombstone, and no stream shows them. */
export function keptSource(source: string): string {
  return `$tags:${source}`;
}

function collectionOf({ tombstones }: Binding): Collection<KeptDocument> {
  return tombstones.collection as unknown as Collection<KeptDocument>;
}

const idOf = ({ source }: Binding, key: string): KeptDocument['_id'] => ({ s: keptSource(source), k: key });

/** A row as it is kept. */
export function keptText({ declared }: Binding, states: readonly ColumnTexts[]): string {
  return JSON.stringify(
    states.map((texts) =>
      Object.fromEntries(
        declared.tagged.map((field) => {
          const text = texts[field];
          return [field, text === undefined ? UNTOLD : text];
        }),
      ),
    ),
  );
}

/**
 * Reads what is kept of rows, by key, outside of any transaction. A transaction that has begun before reads no less than what
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
  return new Map(found.map(({ _id, at, had }) => [_id.k, { had, expires: at !== undefined }]));
}

/**
 * Joins what is kept of a row and what is known of it, in this order. A field that was declared since has the value of the last known state: that
 * is told anyhow.
 *
 * @param rows the row's states at each time that is known
 */
export function withKept(
  binding: Binding,
  kept: KeptTags | undefined,
  rows: readonly (readonly ColumnTexts[] | undefined)[],
): ColumnTexts[] {
  const known = rows.flatMap((states) => states ?? []);
  if (kept === undefined) return known;
  const told = new Set(rows.map((states) => keptText(binding, states ?? [])));
  const before = kept.had
    .filter((text) => !told.has(text))
    .flatMap((text) => JSON.parse(text) as Record<string, string | null | typeof UNTOLD>[])
    .map((state) => {
      const entries = Object.entries({ ...known.at(-1), ...state });
      return Object.fromEntries(entries.filter(([, text]) => text !== UNTOLD)) as ColumnTexts;
    });
  return [...before, ...known];
}

/** A row as an own write leaves it. */
export interface LeftRow {
  readonly key: string;
  /** `undefined`: it is gone. */
  readonly states: readonly ColumnTexts[] | undefined;
}

/** Keeps what own writes have left of rows, in their transaction, where that differs from what is kept. */
export async function leaveTags(
  binding: Binding,
  rows: readonly LeftRow[],
  kept: ReadonlyMap<string, KeptTags>,
  call: Call,
): Promise<void> {
  const operations = rows.flatMap(({ key, states }): AnyBulkWriteOperation<KeptDocument>[] => {
    const filter = { _id: { $eq: idOf(binding, key) } };
    const known = kept.get(key);
    if (states === undefined) {
      if (known === undefined || known.expires) return [];
      // Unless another write has left the row anew, as the relay may find.
      const same = { ...filter, had: { $eq: known.had } };
      return [{ updateOne: { filter: same, update: { $currentDate: { at: true } } } }];
    }
    const text = keptText(binding, states);
    if (known?.expires === false && known.had.length === 1 && known.had[0] === text) return [];
    const update = { $set: { had: [text] }, $unset: { at: '' } };
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
  rows: ReadonlyMap<string, readonly ColumnTexts[]>,
  gone: readonly string[],
  call: Call,
): Promise<void> {
  const kept = await keptTags(binding, [...rows.keys(), ...gone], call);
  const added = [...rows].flatMap(([key, states]): AnyBulkWriteOperation<KeptDocument>[] => {
    const text = keptText(binding, states);
    const known = kept.get(key);
    if (known?.expires === false && known.had.at(-1) === text) return [];
    const update = { $push: { had: { $each: [text], $slice: -MAX_HAD } }, $unset: { at: '' } };
    return [
      {
        updateOne: { filter: { _id: { $eq: idOf(binding, key) } }, update: update as Document, upsert: true },
      },
    ];
  });
  const expiring = gone.flatMap((key) =>
    kept.get(key)?.expires === false ? [{ key, states: undefined }] : [],
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
