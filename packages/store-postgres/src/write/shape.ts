import { StoreRefusedError } from '@lockstep/core';
import type { TableColumn, TableInfo } from '../sql/catalog.js';

/** Something within a document: the property is the path, and the column's type that of what it sets. */
export interface PathColumn extends TableColumn {
  readonly target: TableColumn;
}

export function isPath(column: TableColumn): column is PathColumn {
  return 'target' in column;
}

/** Deeper than this a statement would become too large. */
const MAX_PARTS = 30;

/** The columns that a value sets, in table order. Values of one shape share statements. */
export interface Shape {
  readonly id: string;
  /** Written columns that are not part of the key. */
  readonly columns: readonly TableColumn[];
  /** True when each column's value is one text: none is an array or composite. */
  readonly scalar: boolean;
  /** Columns that a patch gives their defaults. */
  readonly unset?: readonly TableColumn[];
  /** Columns that a row keeps although the value leaves them out. */
  readonly kept?: readonly TableColumn[];
}

/** A property that is no column, as far as this process knows. */
export class UnknownPropertyError extends StoreRefusedError {
  override readonly name = 'StoreRefusedError';
}

export const NO_COLUMNS: Shape = { id: '', columns: [], scalar: true };

function isScalar(column: TableColumn): boolean {
  return !column.array && column.kind !== 'composite';
}

/** True when the value has exactly these properties, in this order, and all are defined. */
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

  /** As `of`; a row that is there keeps the columns of these properties. */
  keeping(value: Readonly<Record<string, unknown>>, properties: readonly string[]): Shape {
    const shape = this.of(value);
    const kept = properties.flatMap((property) => this.#byProperty.get(property) ?? []);
    const id = `${shape.id}+${kept.map(({ index }) => index).join(',')}`;
    const known = this.#shapes.get(id);
    if (known !== undefined) return known;
    const keeping = { ...shape, id, kept: kept.map(({ column }) => column) };
    if (this.#shapes.size < 1000) this.#shapes.set(id, keeping);
    return keeping;
  }

  #intern(
    indexes: readonly number[],
    unset: readonly number[] = [],
    paths: readonly PathColumn[] = [],
  ): Shape {
    const names = paths.map(({ property }) => property);
    const into = names.length === 0 ? '' : JSON.stringify(names);
    const id = `${indexes.join(',')}${unset.map((index) => `-${index}`).join('')}${into}`;
    let shape = this.#shapes.get(id);
    if (shape === undefined) {
      const columnsAt = (places: readonly number[]): TableColumn[] =>
        places.flatMap((index) => this.#info.columns[index] ?? []);
      const columns = columnsAt(indexes);
      shape = { id, columns, scalar: columns.every(isScalar) };
      if (unset.length > 0 || paths.length > 0) {
        shape = { ...shape, columns: [...columns, ...paths], unset: columnsAt(unset) };
      }
      if (this.#shapes.size < 1000) this.#shapes.set(id, shape);
    }
    return shape;
  }

  /**
   * The columns of a patch, and paths into documents; those unset that can't be written stay as they are, as with a
   * put. Throws `StoreRefusedError` naming a property that can't be set.
   */
  patch(set: Readonly<Record<string, unknown>>, unset: readonly string[]): Shape {
    const indexes: number[] = [];
    const paths: PathColumn[] = [];
    for (const property of Object.keys(set)) {
      const found = this.#byProperty.get(property) ?? this.#target(property);
      const problem = this.#problemOf(found.column);
      if (problem !== undefined) {
        throw new StoreRefusedError(`${this.#info.source}: "${property}" can't be set: it ${problem}`);
      }
      if (found.column.property === property) indexes.push(found.index);
      else paths.push({ ...found.column, property, target: found.column });
    }
    const removed = unset.flatMap((property) => {
      const found = this.#byProperty.get(property);
      return found === undefined || this.#problemOf(found.column) !== undefined ? [] : found.index;
    });
    const inOrder = (places: readonly number[]): number[] => places.toSorted((a, b) => a - b);
    return this.#intern(inOrder(indexes), inOrder(removed), paths);
  }

  /** The column that a path leads into. */
  #target(path: string): { readonly column: TableColumn; readonly index: number } {
    const [head = '', ...rest] = path.split('.');
    const found = this.#byProperty.get(head);
    if (found === undefined || rest.length === 0) throw this.#unknown(path);
    if (found.column.typeId === 'pg_catalog.jsonb') {
      if (!path.isWellFormed() || path.includes('\0')) {
        throw new StoreRefusedError(
          `${this.#info.source}: ${JSON.stringify(path)}: a path must be well-formed text without U+0000`,
        );
      }
      if (rest.length < MAX_PARTS) return found;
      throw new StoreRefusedError(`${this.#info.source}: a path of ${rest.length + 1} parts is too long`);
    }
    throw new StoreRefusedError(`${this.#info.source}: "${path}": paths lead into jsonb columns only`);
  }

  #problemOf({ identityAlways, property, writable }: TableColumn): string | undefined {
    if (this.#keyProperties.has(property)) return 'is part of the key';
    return writable && !identityAlways ? undefined : 'is generated by the database';
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

  #unknown(property: string): UnknownPropertyError {
    const known = [...this.#byProperty.keys()].join(', ');
    const version =
      property === this.#info.spec.versionColumn ? " (the version column is Lockstep's own)" : '';
    return new UnknownPropertyError(
      `${this.#info.source}: no column for property "${property}"${version}; known are ${known}`,
    );
  }
}
