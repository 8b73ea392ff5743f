import { type RowCarrier, StoreContractError } from '@lockstep/core';
import type { TableColumn } from '../sql/catalog.js';
import { wallTimeText } from '../write/values.js';
import { isExact, isUsual, type Parse, type ValueKind, valueKind } from './column-values.js';
import { copied, keepAllTexts, textsOf } from './rows.js';

type Properties = Record<string, unknown>;

interface CarriedColumn {
  readonly column: TableColumn;
  readonly property: string;
  readonly kind: ValueKind;
  readonly parse: Parse;
  /** The process parses it as pg does by itself. */
  readonly usual: boolean;
}

/**
 * Rows on their way through a cache. A value that every process's pg makes of the same text, and every serializer
 * carries, travels as it is; any other as the text that the server sent, for the reader's own pg to parse: so that a
 * reader gets what its own driver would have given it, whatever its time zone and its parsers.
 *
 * | packed                 | what it is                                                                  |
 * | ---------------------- | --------------------------------------------------------------------------- |
 * | the row                | all values travel as they are                                               |
 * | `[names, row]`         | the values of the properties that are named are texts                       |
 * | `[names, value, true]` | the same of a caller's value, which is buffered: others are as he gave them |
 */
export class PostgresRows<Value> implements RowCarrier<Value> {
  readonly #name: string;
  readonly #columns: readonly CarriedColumn[];
  readonly #byProperty: ReadonlyMap<string, CarriedColumn>;
  /** The columns whose values this process makes in its own way, or never carries as they are. */
  readonly #checked: readonly CarriedColumn[];

  constructor(name: string, columns: readonly TableColumn[], parserOf: (oid: number) => Parse) {
    this.#name = name;
    this.#columns = columns.map((column) => {
      const [kind, parse] = [valueKind(column), parserOf(column.oid)];
      return { column, property: column.property, kind, parse, usual: isUsual(kind, parse) };
    });
    this.#byProperty = new Map(this.#columns.map((column) => [column.property, column]));
    this.#checked = this.#columns.filter(({ kind, usual }) => kind === 'text' || !usual);
    if (this.#columns.some(({ usual }) => !usual)) keepAllTexts();
  }

  pack(value: Value): unknown {
    if (typeof value !== 'object' || value === null) return value;
    if (this.#isExactRow(value as Properties)) return value;
    const texts = textsOf(value);
    return texts === undefined
      ? packValue(value as Properties, this.#byProperty)
      : this.#packRow(value as Properties, texts);
  }

  copied(row: Value, copy: Value): void {
    if (typeof row === 'object' && row !== null) copied(row, copy as object);
  }

  #isExactRow(value: Properties): boolean {
    for (const { kind, property, usual } of this.#columns) {
      const member = value[property];
      if (member !== null && (!usual || !isExact(kind, member))) return false;
    }
    return true;
  }

  #packRow(value: Properties, texts: ReadonlyMap<string, string | null>): unknown {
    const names: string[] = [];
    const row: Properties = {};
    for (const [property, text] of texts) {
      const known = this.#byProperty.get(property);
      const exact = known?.usual === true && isExact(known.kind, value[property]);
      // Changes that its reader made since are no part of the row.
      row[property] = text === null ? null : exact ? value[property] : text;
      if (text !== null && !exact) names.push(property);
    }
    return names.length === 0 ? row : [names, row];
  }

  unpack(packed: unknown): Value {
    if (!Array.isArray(packed)) return this.#asParsedHere(packed as Properties, NONE) as Value;
    const [names, row, buffered] = packed as [readonly string[], Properties, boolean | undefined];
    for (const name of names) {
      const text = row[name];
      // A column that this process does not know: nobody reads it here.
      const parse = this.#byProperty.get(name)?.parse;
      if (typeof text === 'string' && parse !== undefined) row[name] = parse(text);
    }
    return (buffered === true ? row : this.#asParsedHere(row, names)) as Value;
  }

  /** Values that travelled as they are, parsed as this process does. Throws for one whose writer had no text of it. */
  #asParsedHere(row: Properties, texts: readonly string[]): Properties {
    for (const { kind, parse, property } of this.#checked) {
      const value = row[property];
      if (value === null || value === undefined || texts.includes(property)) continue;
      if (kind === 'text' || typeof value === 'object') {
        throw new StoreContractError(`${this.#name}: "${property}" was cached without its text`);
      }
      row[property] = parse(kind === 'boolean' ? (value === true ? 't' : 'f') : String(value));
    }
    return row;
  }
}

const NONE: readonly string[] = [];

/** Dates of a caller's that mean a wall time travel as that, not as a moment. */
function packValue(value: Properties, columns: ReadonlyMap<string, CarriedColumn>): unknown {
  const names: string[] = [];
  const packed: Properties = { ...value };
  for (const [property, member] of Object.entries(value)) {
    const column = columns.get(property)?.column;
    const text = column !== undefined && member instanceof Date ? wallTimeText(member, column) : undefined;
    if (text === undefined) continue;
    packed[property] = text;
    names.push(property);
  }
  return [names, packed, true];
}
