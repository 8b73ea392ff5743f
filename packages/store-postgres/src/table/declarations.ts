import {
  type DeclaredSets,
  InvalidIdError,
  InvalidOptionError,
  messageOf,
  type StoreCallOptions,
  type StoreDeclarations,
} from '@lockstep/core';
import { canonicalOf, declaredText } from '@lockstep/core/kit';
import type { KeyColumn } from '../keys/codec.js';
import type { TableInfo, TableSpec } from '../sql/catalog.js';
import { checkUnique, isSameSet, withDeclared } from '../sql/declared.js';
import { arrayText } from '../wire/arrays.js';
import type { Row } from '../wire/pipeline.js';
import { OUT } from '../write/statements/table-sql.js';
import type { TableCall } from './fence.js';
import type { OpenedTable } from './opened.js';

export interface DeclarationsParts {
  readonly name: string;
  /** The open table. Throws where it is not. */
  readonly opened: () => OpenedTable<unknown>;
  /** Looks at the table again. */
  readonly renewed: () => Promise<void>;
  /** Looks at the table in the background. */
  readonly doubted: () => void;
  readonly send: (call: TableCall, options: StoreCallOptions) => Promise<readonly Row[]>;
}

/** What attach has declared of a table, and lookups by it. */
export class TableDeclarations implements StoreDeclarations<StoreCallOptions> {
  readonly #spec: TableSpec;
  readonly #parts: DeclarationsParts;

  constructor(spec: TableSpec, parts: DeclarationsParts) {
    this.#spec = spec;
    this.#parts = parts;
  }

  columnOf(property: string): string {
    return this.#spec.columns[property] ?? property;
  }

  async check(sets: DeclaredSets): Promise<void> {
    const { opened, renewed } = this.#parts;
    const wanted = {
      unique: this.#columnSets(sets.unique),
      tags: this.#columnSets(sets.tags),
    };
    // Says what is wrong with the columns or indexes before it says what is to be attached.
    withDeclared(opened().info, wanted);
    checkUnique(opened().info, wanted.unique);
    if (missingIn(opened().info, wanted) === undefined) return;
    // Attached anew since the table was opened.
    await renewed();
    const missing = missingIn(opened().info, wanted);
    if (missing === undefined) return;
    const [option, set] = missing;
    const shown = set.map((column) => `'${this.#propertyOf(column)}'`).join(', ');
    throw new InvalidOptionError(
      option,
      `changes of ${opened().info.source} don't tell the values of (${set.join(', ')}): attach it with them (pg.attach(table, { ${option}: [[${shown}]] }), beside those that it has)`,
    );
  }

  textOf(property: string, value: unknown): string | null {
    if (value === undefined || value === null) return null;
    const { column, type } = this.#column(this.columnOf(property));
    try {
      return declaredText(type.canonical(value));
    } catch (cause) {
      // An enum may have got a label: the next call knows it.
      if (type.labels !== undefined) this.#parts.doubted();
      throw new InvalidIdError(`${this.#parts.name}: column "${column}": ${messageOf(cause)}`, { cause });
    }
  }

  async find(
    unique: readonly string[],
    texts: readonly (readonly string[])[],
    options: StoreCallOptions,
  ): Promise<readonly (string | undefined)[]> {
    if (texts.length === 0) return [];
    const { opened, send } = this.#parts;
    const columns = unique.map((property) => this.#column(this.columnOf(property)));
    const values = columns.map(({ type }, part) =>
      arrayText(texts.map((each) => type.toInput(canonicalOf(each[part] ?? '') ?? ''))),
    );
    const rows = await send({ statement: opened().statements.find(columns), values }, options);
    const keys = new Map(rows.map(({ meta }) => [Number(meta[OUT.number]), String(meta[OUT.key])]));
    return texts.map((_, place) => keys.get(place + 1));
  }

  #columnSets(sets: DeclaredSets['unique'] = []): string[][] {
    return sets.map((set) => set.map((property) => this.columnOf(property)));
  }

  #propertyOf(column: string): string {
    return this.#parts.opened().info.columns.find(({ name }) => name === column)?.property ?? column;
  }

  #column(name: string): KeyColumn {
    const found = this.#parts.opened().info.declared.columns.find(({ column }) => column === name);
    if (found !== undefined) return found;
    throw new InvalidOptionError('unique', `${this.#parts.name}: attach does not record column "${name}"`);
  }
}

/** A set that changes don't tell, and its kind. */
function missingIn(
  { declared }: TableInfo,
  wanted: Required<DeclaredSets>,
): readonly ['unique' | 'tags', readonly string[]] | undefined {
  for (const kind of ['unique', 'tags'] as const) {
    const missing = wanted[kind]?.find((set) => !declared[kind].some((each) => isSameSet(each, set)));
    if (missing !== undefined) return [kind, missing];
  }
  return undefined;
}
