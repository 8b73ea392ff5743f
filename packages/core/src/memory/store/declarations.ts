import type { StoreDeclarations } from '../../contracts/declared.js';
import type { StoreCallOptions, StoreTransaction } from '../../contracts/store.js';
import { InvalidIdError, InvalidOptionError, messageOf } from '../../errors.js';
import type { MemoryTable } from './table.js';
import { textOf, textsOf } from './texts.js';

/** A table as lookups need it. */
export interface DeclaredTable {
  readonly name: string;
  /** Lists of fields that no two rows share. */
  readonly unique: readonly (readonly string[])[];
  readonly rows: MemoryTable;
  readonly keys: (tx: StoreTransaction | undefined) => readonly string[];
  readonly rowAt: (key: string, tx: StoreTransaction | undefined) => unknown;
}

/** Lookups in a table of this process. Of each it looks at all rows. */
export function declarations({
  keys,
  name,
  rows,
  unique,
  rowAt,
}: DeclaredTable): StoreDeclarations<StoreCallOptions> {
  const isUnique = (set: readonly string[]): boolean =>
    unique.some((each) => each.length === set.length && each.every((field) => set.includes(field)));
  return {
    columnOf: (property) => property,
    async check({ tags = [], unique: asked = [] }) {
      const missing = asked.find((set) => !isUnique(set));
      if (missing !== undefined) {
        throw new InvalidOptionError('unique', `${name} does not say that ${missing.join(', ')} is unique`);
      }
      for (const property of [...asked, ...tags].flat()) rows.declared.add(property);
    },
    textOf(property, value) {
      try {
        return textOf(value);
      } catch (cause) {
        throw new InvalidIdError(`${name}: "${property}": ${messageOf(cause)}`, { cause });
      }
    },
    async find(set, texts, { tx }) {
      const found = new Map<string, string>();
      for (const key of keys(tx)) {
        const value = rowAt(key, tx);
        if (value !== undefined) found.set(JSON.stringify(listOf(set, textsOf(value, set))), key);
      }
      return texts.map((each) => found.get(JSON.stringify(each)));
    },
  };
}

function listOf(set: readonly string[], texts: ReturnType<typeof textsOf>): (string | null | undefined)[] {
  return set.map((property) => texts[property]);
}
