import { MAX_HOLE_TTL_MS } from '../collection/settings.js';
import { MAX_NAME_LENGTH } from '../contracts/job-problem.js';
import type { ConsumerRecord, RecordedCollection } from '../contracts/registry.js';
import { StoreContractError } from '../errors.js';
import { keyPrefix } from '../protocol/key.js';
import { lookupPrefix, MAX_LOOKUP_NAME_LENGTH } from '../protocol/lookup.js';
import { tagsPrefix } from '../protocol/tags.js';
import type { EventHub } from '../runtime/events.js';

/** How many collections of one table are kept in step: each write of a row tells all of them. */
const MAX_COLLECTIONS = 256;
/** Records that were told of once. The oldest is forgotten first. */
const MAX_TOLD = 1_000;

/**
 * Judges what is read from the registry. Whoever runs Lockstep on one table writes that table's record, and must not
 * reach keys of the cache that are no collection's: a key's start is believed only where the name gives it.
 */
export class RecordJudge {
  readonly #consumer: string;
  readonly #events: EventHub;
  readonly #told = new Set<string>();

  constructor(consumer: string, events: EventHub) {
    this.#consumer = consumer;
    this.#events = events;
  }

  /** The records without the collections that are not believed, each of which is an `error` event once. */
  believed(records: readonly ConsumerRecord[]): ConsumerRecord[] {
    return records.map((record) => ({ ...record, collections: this.#collections(record) }));
  }

  #collections({ source, collections }: ConsumerRecord): RecordedCollection[] {
    const found = collections.filter((each) => {
      const problem = problemOf(each, this.#consumer, source);
      if (problem !== undefined) this.#tell(source, each, problem);
      return problem === undefined;
    });
    if (found.length > MAX_COLLECTIONS) {
      this.#tell(source, undefined, `it has more than ${MAX_COLLECTIONS} collections`);
    }
    return found
      .slice(0, MAX_COLLECTIONS)
      .map((each) => (each.holeTtlMs > MAX_HOLE_TTL_MS ? { ...each, holeTtlMs: MAX_HOLE_TTL_MS } : each));
  }

  #tell(source: string, collection: RecordedCollection | undefined, problem: string): void {
    const text = JSON.stringify([source, collection]).slice(0, 2_000);
    if (this.#told.has(text)) return;
    const [oldest] = this.#told;
    if (this.#told.size >= MAX_TOLD && oldest !== undefined) this.#told.delete(oldest);
    this.#told.add(text);
    const of = collection === undefined ? '' : `, collection "${String(collection.name).slice(0, 64)}"`;
    const message = `the registry's record of "${source}"${of} is left out: ${problem}`;
    this.#events.error.emit({ where: 'registry', error: new StoreContractError(message) });
  }
}

function isColumns(lookup: unknown): boolean {
  return (
    Array.isArray(lookup) &&
    lookup.length > 0 &&
    lookup.every((each) => typeof each === 'string' && each !== '')
  );
}

/** Says why a record can't have been made by this consumer; `undefined`: it can. */
function problemOf(each: RecordedCollection, consumer: string, source: string): string | undefined {
  const { name, holeOnEmpty, holeTtlMs, lookup, tags } = each;
  if (tags !== undefined && !(Array.isArray(tags) && tags.every(isColumns)))
    return 'its tags are no lists of columns';
  if (lookup !== undefined && !isColumns(lookup)) return 'its lookup is no list of columns';
  const most = lookup === undefined && tags === undefined ? MAX_NAME_LENGTH : MAX_LOOKUP_NAME_LENGTH;
  if (typeof name !== 'string' || name.length === 0 || name.length > most) return 'its name is none';
  if (each.keyPrefix !== startOf(each, consumer)) return 'its keyPrefix is not what its name gives';
  if (each.source !== source) return 'it is of another source';
  if (!Number.isSafeInteger(holeTtlMs) || holeTtlMs < 1) return 'its holeTtlMs is no time';
  if (typeof holeOnEmpty !== 'boolean') return 'its holeOnEmpty is no boolean';
  return undefined;
}

/** The start of the keys that a record's name gives. */
function startOf({ lookup, name, tags }: RecordedCollection, consumer: string): string | undefined {
  if (tags !== undefined) return tagsPrefix(consumer, name);
  return lookup === undefined ? keyPrefix(consumer, name) : lookupPrefix(consumer, name, lookup);
}
