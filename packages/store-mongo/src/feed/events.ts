import { type Change, MAX_VERSION_AHEAD_MS, NO_VERSION, type Version } from '@lockstep/core';
import { type Document, Timestamp } from 'mongodb';
import type { Binding } from '../rows/binding.js';
import { encodeKey } from '../rows/key.js';
import { rowName } from '../rows/names.js';
import { fromStored } from '../rows/stamp.js';
import type { VersionMemory } from './memory.js';

/** A change event's meaning for the cache. */
export type FeedEvent =
  /** What a row had before a change that is told by an event of its own. */
  | { readonly kind: 'before'; readonly source: string; readonly key: string; readonly before: Document }
  /** A row at a version that its writer stamped, or a tombstone. */
  | {
      readonly kind: 'versioned';
      readonly source: string;
      readonly key: string;
      readonly version: Version;
      readonly op: 'put' | 'delete';
      readonly atMs: number;
    }
  /** Another program wrote, or deleted, what is at this `_id`; for a deletion the key it had. */
  | {
      readonly kind: 'foreign';
      readonly source: string;
      readonly id: unknown;
      /** The key that is no more, or may be no more; `undefined` when only the row as it is now counts. */
      readonly goneKey: string | undefined;
      readonly atMs: number;
    }
  /** All rows of the source went at once, or others came in their place. */
  | { readonly kind: 'reset'; readonly source: string; readonly atMs: number }
  /** The event says of no row that Lockstep could name: it is counted and left. */
  | { readonly kind: 'aside'; readonly source: string; readonly problem: string };

/** Versions further ahead are somebody's garbage, and must not lift all others. */
const MAX_AHEAD_US = MAX_VERSION_AHEAD_MS * 1_000;

/** Reads change events in the stream's order; remembers what it needs to tell whose they are. */
export class EventReader {
  readonly #bindings: ReadonlyMap<string, Binding>;
  readonly #database: string;
  readonly #tells: (source: string) => boolean;
  readonly #tombstones: string;
  readonly #memory: VersionMemory;
  /** The highest version seen of each source: above whatever a cache can hold of rows deleted meanwhile. */
  readonly highest: Map<string, Version>;
  /** The versions of rows whose tombstones came in the transaction that is being read. */
  readonly #deletedInIt = new Map<string, Version>();
  #deletingTransaction = '';

  constructor(
    bindings: ReadonlyMap<string, Binding>,
    {
      database,
      tells,
      tombstones,
    }: {
      readonly database: string;
      readonly tombstones: string;
      /** True where somebody names values of the source's rows. */
      readonly tells: (source: string) => boolean;
    },
    memory: VersionMemory,
    highest: Map<string, Version>,
  ) {
    this.#bindings = bindings;
    this.#database = database;
    this.#tells = tells;
    this.#tombstones = tombstones;
    this.#memory = memory;
    this.highest = highest;
  }

  /** Says that the stream will show these rows' versions as this process's own doing. */
  expect(changes: readonly Change[]): void {
    for (const { source, key, version, op } of changes) {
      if (op === 'put') this.#memory.expect(rowName(source, key), version);
    }
  }

  /** Never throws: an event that can't be read must not take others with it. */
  read(event: Document): FeedEvent[] {
    try {
      return this.#read(event);
    } catch (error) {
      const ns = event['ns'] as { coll?: string } | undefined;
      const problem = error instanceof Error ? error.message : String(error);
      return [{ kind: 'aside', source: `${this.#database}.${ns?.coll ?? ''}`, problem }];
    }
  }

  #read(event: Document): FeedEvent[] {
    const atMs = timeOf(event);
    const ns = event['ns'] as { coll?: string } | undefined;
    if (event['operationType'] === 'dropDatabase' || event['operationType'] === 'invalidate') {
      return [...this.#bindings.keys()].map((source) => ({ kind: 'reset', source, atMs }));
    }
    if (ns?.coll === this.#tombstones) return this.#tombstone(event, atMs);
    const to = event['to'] as { coll?: string } | undefined;
    const binding = this.#bindings.get(`${this.#database}.${ns?.coll ?? ''}`);
    switch (event['operationType']) {
      case 'insert':
      case 'update':
      case 'replace':
        return binding === undefined ? [] : this.#written(binding, event, atMs);
      case 'delete':
        return binding === undefined ? [] : this.#deleted(binding, event, atMs);
      case 'drop':
      case 'rename': {
        const target = this.#bindings.get(`${this.#database}.${to?.coll ?? ''}`);
        return [binding, target].flatMap((hit) =>
          hit === undefined ? [] : [{ kind: 'reset', source: hit.source, atMs } as const],
        );
      }
      default:
        return [];
    }
  }

  #tombstone(event: Document, atMs: number): FeedEvent[] {
    if (event['operationType'] === 'delete') return [];
    const id = (event['documentKey'] as { _id?: { s?: unknown; k?: unknown } } | undefined)?._id;
    const source = String(id?.s);
    const key = String(id?.k ?? '');
    const { after, changed } = states(event);
    const version = fromStored(changed?.['v'] ?? after?.['v']);
    if (!this.#bindings.has(source) || key === '' || version === NO_VERSION) return [];
    if (version > atMs * 1000 + MAX_AHEAD_US) return [];
    const transaction = transactionOf(event);
    if (transaction !== this.#deletingTransaction) this.#deletedInIt.clear();
    this.#deletingTransaction = transaction;
    this.#deletedInIt.set(rowName(source, key), version);
    this.#note(source, key, version, atMs);
    return [{ kind: 'versioned', source, key, version, op: 'delete', atMs }];
  }

  #written(binding: Binding, event: Document, atMs: number): FeedEvent[] {
    const { source, keyField, versionField } = binding;
    const { before, after, changed } = states(event);
    const id = (event['documentKey'] as Document)['_id'] as unknown;
    const keyValue =
      keyField === '_id' ? id : (changed?.[keyField] ?? after?.[keyField] ?? before?.[keyField]);
    if (keyValue === undefined) {
      return keyField === '_id' || event['operationType'] !== 'update'
        ? []
        : [{ kind: 'aside', source, problem: `an update without a pre-image, _id ${String(id)}` }];
    }
    const key = encodeKey(keyValue, source);
    const had: FeedEvent[] = before === undefined ? [] : [{ kind: 'before', source, key, before }];
    const oldKey = keyField === '_id' || before === undefined ? key : encodeKeyOf(before[keyField], source);
    const moved = oldKey !== undefined && oldKey !== key ? oldKey : undefined;
    if (moved !== undefined) for (const each of [...had]) had.push({ ...each, key: moved } as FeedEvent);
    const version = fromStored(changed === undefined ? after?.[versionField] : changed[versionField]);
    if (moved === undefined && version !== NO_VERSION && this.#isNew(binding, event, key, version, atMs)) {
      this.#note(source, key, version, atMs);
      return [...had, { kind: 'versioned', source, key, version, op: 'put', atMs }];
    }
    // The field's content is not this write's: it says only how high versions have been.
    if (version !== NO_VERSION) this.#lift(source, version, atMs);
    return [...had, { kind: 'foreign', source, id, goneKey: moved, atMs }];
  }

  #isNew(binding: Binding, event: Document, key: string, version: Version, atMs: number): boolean {
    const row = rowName(binding.source, key);
    if (version > atMs * 1000 + MAX_AHEAD_US) return false;
    if (this.#memory.takeExpected(row, version)) return true;
    const { before, changed, removed } = states(event);
    if (before !== undefined) return version > fromStored(before[binding.versionField]);
    const last = this.#memory.last(row);
    if (last !== undefined) return version > last;
    // Nothing but the version: a restamp, which only we do.
    if (changed !== undefined && Object.keys(changed).length === 1 && removed === 0) return true;
    return this.#memory.isFresh(version, atMs);
  }

  #deleted(binding: Binding, event: Document, atMs: number): FeedEvent[] {
    const { source, keyField } = binding;
    const { before } = states(event);
    const id = (event['documentKey'] as Document)['_id'] as unknown;
    const keyValue = keyField === '_id' ? id : before?.[keyField];
    if (keyValue === undefined) {
      if (before !== undefined) return [];
      return [{ kind: 'aside', source, problem: `a deletion without a pre-image, _id ${String(id)}` }];
    }
    const key = encodeKey(keyValue, source);
    const had: FeedEvent[] = before === undefined ? [] : [{ kind: 'before', source, key, before }];
    // The row's tombstone came just before, in the same transaction: a deletion of ours, told already.
    const row = rowName(source, key);
    const version = this.#deletedInIt.get(row);
    if (this.#deletingTransaction === transactionOf(event) && version !== undefined) {
      this.#deletedInIt.delete(row);
      // Only now it is known what the row had.
      return this.#tells(source)
        ? [...had, { kind: 'versioned', source, key, version, op: 'delete', atMs }]
        : [];
    }
    return [...had, { kind: 'foreign', source, id, goneKey: key, atMs }];
  }

  #note(source: string, key: string, version: Version, atMs: number): void {
    this.#memory.remember(rowName(source, key), version, atMs);
    this.#lift(source, version, atMs);
  }

  #lift(source: string, version: Version, atMs: number): void {
    if (version > atMs * 1000 + MAX_AHEAD_US) return;
    this.highest.set(source, Math.max(this.highest.get(source) ?? NO_VERSION, version));
  }
}

function states(event: Document): {
  readonly before: Document | undefined;
  readonly after: Document | undefined;
  readonly changed: Document | undefined;
  readonly removed: number;
} {
  const update = event['updateDescription'] as
    | { updatedFields?: Document; removedFields?: unknown[]; truncatedArrays?: unknown[] }
    | undefined;
  return {
    before: (event['fullDocumentBeforeChange'] as Document | null | undefined) ?? undefined,
    after: (event['fullDocument'] as Document | null | undefined) ?? undefined,
    changed: update === undefined ? undefined : (update.updatedFields ?? {}),
    removed: (update?.removedFields?.length ?? 0) + (update?.truncatedArrays?.length ?? 0),
  };
}

function encodeKeyOf(value: unknown, source: string): string | undefined {
  return value === undefined ? undefined : encodeKey(value, source);
}

/** Events of one transaction share all three; of two transactions, no two do. */
function transactionOf(event: Document): string {
  const lsid = event['lsid'] as { id?: { toString(encoding: 'hex'): string } } | undefined;
  return `${String(event['clusterTime'])}/${lsid?.id?.toString('hex') ?? ''}/${String(event['txnNumber'])}`;
}

function timeOf(event: Document): number {
  const wall: unknown = event['wallTime'];
  if (wall instanceof Date) return wall.getTime();
  const cluster: unknown = event['clusterTime'];
  return cluster instanceof Timestamp ? cluster.getHighBits() * 1000 : Date.now();
}
