import { InvalidIdError, MAX_KEY_LENGTH } from '@lockstep/core';
import { operator } from '../sql/operators.js';
import type { KeyType } from './types.js';

/**
 * The longest key in bytes of UTF-8: what an index of tombstones holds beside the table's name. Rows of longer keys
 * are no one's: callers can't name them, and nothing is kept for them.
 */
export const MAX_KEY_BYTES = 2000;

/** The longest text of an id: some ways to write one (`{uuid}`, `\\x` and hex, padding) are longer than its key. */
const MAX_ID_LENGTH = 2 * MAX_KEY_LENGTH;

export interface KeyColumn {
  /** The column's name in the table. */
  readonly column: string;
  /** The property's name in rows and composite ids. */
  readonly property: string;
  readonly type: KeyType;
}

const escapePart = (part: string): string => part.replaceAll('%', '%25').replaceAll(':', '%3A');
const unescapePart = (part: string): string => part.replaceAll('%3A', ':').replaceAll('%25', '%');

/**
 * Ids to canonical keys and back. A key of one column is its canonical text; a composite key joins
 * its parts' texts with colons, colons and per cent signs inside them percent-encoded, so that no two
 * rows share a key.
 */
export class KeyCodec {
  readonly #columns: readonly KeyColumn[];
  readonly #name: string;

  constructor(columns: readonly KeyColumn[], name: string) {
    this.#columns = columns;
    this.#name = name;
  }

  /** The key of an id: a scalar, or for a composite key an object or array of its parts. */
  keyOf(id: unknown): string {
    if (this.#columns.length === 1) {
      const [column] = this.#columns;
      const value = isPlainObject(id) && column !== undefined ? id[column.property] : id;
      return this.#check(this.#part(0, value));
    }
    return this.#check(
      this.#columns.map((_, index) => escapePart(this.#part(index, this.#pick(id, index)))).join(':'),
    );
  }

  /** The key that a row's own key properties make; `undefined` when it lacks all of them. */
  keyOfRow(row: Readonly<Record<string, unknown>>): string | undefined {
    const [first] = this.#columns;
    if (first !== undefined && this.#columns.length === 1) {
      const value = row[first.property];
      return value === undefined ? undefined : this.#part(0, value);
    }
    if (this.#columns.every((column) => row[column.property] === undefined)) return undefined;
    const parts = this.#columns.map((column, index) => this.#part(index, row[column.property]));
    return parts.map(escapePart).join(':');
  }

  /** The key of a row whose other parts were drawn: `texts` has them in canonical form, by the column's number. */
  keyOfDrawn(row: Readonly<Record<string, unknown>>, texts: ReadonlyMap<number, string>): string {
    const parts = this.#columns.map(
      ({ property }, index) => texts.get(index) ?? this.#part(index, row[property]),
    );
    return this.#check(parts.length === 1 ? (parts[0] ?? '') : parts.map(escapePart).join(':'));
  }

  /** The key columns' values in their input syntax. */
  inputs(key: string): string[] {
    const [first] = this.#columns;
    if (first !== undefined && this.#columns.length === 1) return Array.of(first.type.toInput(key));
    const parts = key.split(':').map(unescapePart);
    if (parts.length !== this.#columns.length) {
      throw new InvalidIdError(`${this.#name}: the key ${JSON.stringify(key)} is not of this table`, { key });
    }
    return parts.map((part, index) => this.#columns[index]?.type.toInput(part) ?? part);
  }

  #pick(id: unknown, index: number): unknown {
    const column = this.#columns[index];
    if (Array.isArray(id) && id.length === this.#columns.length) return id[index];
    if (isPlainObject(id) && column !== undefined) return id[column.property];
    const names = this.#columns.map((each) => each.property).join(', ');
    throw new InvalidIdError(
      `${this.#name}: an id must be an object { ${names} } or an array of these in order`,
    );
  }

  #part(index: number, value: unknown): string {
    const column = this.#columns[index];
    if (column === undefined) throw new InvalidIdError(`${this.#name}: no key column ${index}`);
    // Before anything looks at the text.
    if ((typeof value === 'string' || value instanceof Uint8Array) && value.length > MAX_ID_LENGTH) {
      throw this.#tooLong(`${MAX_KEY_LENGTH} characters, got ${value.length}`);
    }
    try {
      return column.type.canonical(value);
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      throw new InvalidIdError(`${this.#name}: key column "${column.property}": ${problem}`, {
        cause: error,
      });
    }
  }

  #check(key: string): string {
    if (key.length === 0) throw new InvalidIdError(`${this.#name}: an id must not be empty`);
    if (key.length > MAX_KEY_LENGTH) {
      throw this.#tooLong(`${MAX_KEY_LENGTH} characters, got ${key.length}`, key);
    }
    // Three bytes are the most that one UTF-16 code unit takes.
    const bytes = key.length * 3 > MAX_KEY_BYTES ? Buffer.byteLength(key) : 0;
    if (bytes > MAX_KEY_BYTES) throw this.#tooLong(`${MAX_KEY_BYTES} bytes, got ${bytes}`, key);
    return key;
  }

  #tooLong(problem: string, key?: string): InvalidIdError {
    return new InvalidIdError(`${this.#name}: an id must have at most ${problem}`, {
      key: key?.slice(0, 64),
    });
  }
}

/** The SQL expression of the canonical key over columns of `alias`. Must agree with {@link KeyCodec}. */
export function keySql(columns: readonly KeyColumn[], reference: (column: KeyColumn) => string): string {
  const [first] = columns;
  if (columns.length === 1 && first !== undefined) return first.type.toTextSql(reference(first));
  return columns
    .map((column) => {
      const text = column.type.toTextSql(reference(column));
      return column.type.escapes
        ? `pg_catalog.replace(pg_catalog.replace(${text}, '%', '%25'), ':', '%3A')`
        : text;
    })
    .reduce((left, part) => operator(operator(left, '||', "':'"), '||', part));
}

function isPlainObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof Date) &&
    !(value instanceof Uint8Array)
  );
}
