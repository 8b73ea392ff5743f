import { StoreRefusedError } from '@lockstep/core';
import type { TableColumn, TableInfo } from '../sql/catalog.js';

/** The columns that a value sets, in table order. Values of one shape share statements. */
export interface Shape {
  readonly id: string;
  /** Written columns that are not part of the key. */
  readonly columns: readonly TableColumn[];
  /** Whether each column's value is one text: none is an array or composite. */
  readonly scalar: boolean;
}

export const NO_COLUMNS: Shape = { id: '', columns: [], scalar: true };

function isScalar(column: TableColumn): boolean {
  return !column.array && column.kind !== 'composite';
}

/** Whether the value has exactly these properties, in this order, and all are defined. */
function isLike(value: Readonly<Record<string, unknown>>, properties: readonly string[]): boolean {
  let at = 0;
  for (const property in value) {
    if (property !== properties[at] || value[property] === undefined) return false;
    at += 1;
  }
  return at === properties.length;
}

/** Finds the shape of values, and refuses what the table can't take, before anything is sent. */
export class Shapes {
  readonly #byProperty = new Map<string, { readonly column: TableColumn; readonly index: number }>();
  readonly #keyProperties: ReadonlySet<string>;
  readonly #info: TableInfo;
  /** By the columns of a value in its own order. */
  readonly #known = new Map<string, Shape>();
  /** By the columns in table order. */
  readonly #shapes = new Map<string, Shape>();
  /** The properties of the last value that had none undefined, and its shape: most values are alike. */
  #lastProperties: readonly string[] = [];
  #last: Shape | undefined;

  constructor(info: TableInfo) {
    this.#info = info;
    this.#keyProperties = new Set(info.keyColumns.map((key) => key.property));
    info.columns.forEach((column, index) => {
      this.#byProperty.set(column.property, { column, index });
    });
  }

  /** Throws `StoreRefusedError` naming a property that is no column. */
  of(value: Readonly<Record<string, unknown>>): Shape {
    if (this.#last !== undefined && isLike(value, this.#lastProperties)) return this.#last;
    let id = '';
    let whole = true;
    for (const property in value) {
      if (value[property] === undefined) {
        whole = false;
        continue;
      }
      const found = this.#byProperty.get(property);
      if (found === undefined) throw this.#unknown(property);
      if (!found.column.writable || this.#keyProperties.has(property)) continue;
      id += `,${found.index}`;
    }
    let shape = this.#known.get(id);
    if (shape === undefined) {
      const indexes = id
        .split(',')
        .filter((part) => part !== '')
        .map(Number)
        .sort((a, b) => a - b);
      shape = this.#intern(indexes);
      // Orders of properties are many in theory; in practice a handful.
      if (this.#known.size < 1000) this.#known.set(id, shape);
    }
    if (whole) {
      this.#lastProperties = Object.keys(value);
      this.#last = shape;
    }
    return shape;
  }

  #intern(indexes: readonly number[]): Shape {
    const id = indexes.join(',');
    let shape = this.#shapes.get(id);
    if (shape === undefined) {
      const columns = indexes.flatMap((index) => this.#info.columns[index] ?? []);
      shape = { id, columns, scalar: columns.every(isScalar) };
      if (this.#shapes.size < 1000) this.#shapes.set(id, shape);
    }
    return shape;
  }

  /** The column of a property that `increment` names. */
  field(property: string): TableColumn {
    const found = this.#byProperty.get(property);
    if (found === undefined) throw this.#unknown(property);
    if (found.column.kind !== 'number' || found.column.array || !found.column.writable) {
      throw new StoreRefusedError(`${this.#info.source}: "${property}" is no writable numeric column`);
    }
    if (this.#keyProperties.has(property)) {
      throw new StoreRefusedError(`${this.#info.source}: "${property}" is part of the key`);
    }
    return found.column;
  }

  #unknown(property: string): StoreRefusedError {
    const known = [...this.#byProperty.keys()].join(', ');
    const version =
      property === this.#info.spec.versionColumn ? " (the version column is Lockstep's own)" : '';
    return new StoreRefusedError(
      `${this.#info.source}: no column for property "${property}"${version}; known are ${known}`,
    );
  }
}
