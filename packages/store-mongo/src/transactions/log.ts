import { createHash } from 'node:crypto';
import type { Change, Version } from '@lockstep/core';
import { BSON, type ClientSession } from 'mongodb';
import type { Binding } from '../rows/binding.js';
import { rowName } from '../rows/names.js';

/** Rows that a transaction remembers: what it has read beyond them is not looked at again before its commit. */
const MAX_LOOKED = 10_000;

/** A row as it was when this package last looked at it; without a digest there was none. */
export interface RowState {
  readonly version: Version;
  readonly digest: string | undefined;
}

/** The state of a row that holds `value`; `null`: it is gone, and `version` is its tombstone's. */
export function stateOf(value: object | null, version: Version): RowState {
  if (value === null) return { version, digest: undefined };
  return { version, digest: createHash('sha1').update(BSON.serialize(value)).digest('base64') };
}

/** The rows of an open transaction that this package has seen, and those that it knows to have been changed. */
export class TransactionLog {
  readonly session: ClientSession;
  /** A statement of a collection's has been run: the snapshot stands. */
  begun = false;
  /** The caller may have run statements of its own: it has had the session. */
  handedOut = false;
  readonly #changes = new Map<string, Change>();
  readonly #declaring = new Map<string, Binding>();
  readonly #looked = new Map<string, { readonly binding: Binding; readonly key: string; state: RowState }>();

  /** Rows that a flush had changed since the snapshot of an earlier run of the body, which ended there. */
  readonly #outdated: Set<string>;

  constructor(session: ClientSession, outdated: Set<string>) {
    this.session = session;
    this.#outdated = outdated;
  }

  /** True once per row, whatever the number of runs: the next snapshot has all that was flushed until now. */
  outdates(source: string, key: string): boolean {
    const row = rowName(source, key);
    return !this.#outdated.has(row) && this.#outdated.add(row).has(row);
  }

  record(binding: Binding, key: string, version: Version, op: Change['op']): void {
    const changedAtMs = Math.floor(version / 1000);
    const { declared, source } = binding;
    if (declared.fields.length > 0) this.#declaring.set(source, binding);
    this.#changes.set(rowName(source, key), { source, key, version, op, changedAtMs });
  }

  /** The collections with changes whose values are to be told. */
  get declaring(): Iterable<Binding> {
    return this.#declaring.values();
  }

  recorded(): readonly Change[] {
    return [...this.#changes.values()];
  }

  /** Notes a row as this package has just seen or left it. */
  look(binding: Binding, key: string, state: RowState): void {
    const row = rowName(binding.source, key);
    const known = this.#looked.get(row);
    if (known !== undefined) known.state = state;
    else if (this.#looked.size < MAX_LOOKED) this.#looked.set(row, { binding, key, state });
  }

  lookedAt(source: string, key: string): RowState | undefined {
    return this.#looked.get(rowName(source, key))?.state;
  }

  /** The rows that were looked at, by collection. */
  looked(): { readonly binding: Binding; readonly keys: readonly string[] }[] {
    const bySource = Map.groupBy(this.#looked.values(), ({ binding }) => binding.source);
    return [...bySource.values()].flatMap((rows) => {
      const [first] = rows;
      return first === undefined ? [] : [{ binding: first.binding, keys: rows.map(({ key }) => key) }];
    });
  }
}
