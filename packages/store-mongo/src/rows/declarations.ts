import {
  type DeclaredSets,
  InvalidIdError,
  InvalidOptionError,
  messageOf,
  type StoreCallOptions,
  type StoreDeclarations,
} from '@lockstep/core';
import { canonicalOf } from '@lockstep/core/kit';
import type { Document } from 'mongodb';
import { type Call, statementOptions } from '../wire/call.js';
import type { Binding } from './binding.js';
import { keyIfAny } from './binding.js';
import { fieldText, textsOf } from './declared.js';
import { decodeKey } from './key.js';

export interface DeclarationsParts {
  readonly callOf: (what: string, options: StoreCallOptions) => Call;
  /** Throws `InvalidOptionError` for sets that rows can't be found by, or grouped. */
  readonly checkIndexes: (sets: DeclaredSets) => Promise<void>;
  /** Reads what attach has recorded again. */
  readonly renew: () => Promise<void>;
}

/** What attach has declared of a collection, and lookups by it. */
export function mongoDeclarations(
  binding: Binding,
  { callOf, checkIndexes, renew }: DeclarationsParts,
): StoreDeclarations<StoreCallOptions> {
  const { declared, keyField, primary, source } = binding;
  return {
    columnOf: (property) => property,
    async check(sets) {
      await checkIndexes(sets);
      if (missingIn(declared, sets) !== undefined) await renew();
      const missing = missingIn(declared, sets);
      if (missing === undefined) return;
      const [option, set] = missing;
      const shown = set.map((field) => `'${field}'`).join(', ');
      throw new InvalidOptionError(
        option,
        `changes of ${source} don't tell the values of (${set.join(', ')}): attach it with them (mongo.attach(collection, { ${option}: [[${shown}]] }), beside those that it has)`,
      );
    },
    textOf(property, value) {
      try {
        return fieldText(value, source);
      } catch (cause) {
        throw new InvalidIdError(`${binding.name}: field "${property}": ${messageOf(cause)}`, { cause });
      }
    },
    async find(unique, texts, options) {
      if (texts.length === 0) return [];
      const call = callOf('find', options);
      const filters = texts.map((each) => filterOf(unique, each, source));
      const projection = Object.fromEntries(['_id', keyField, ...unique].map((field) => [field, 1]));
      const documents = await call.bound.race(
        primary
          .find(filters.length === 1 ? (filters[0] ?? {}) : { $or: filters }, {
            ...statementOptions(call),
            projection,
            collation: { locale: 'simple' },
          })
          .toArray(),
      );
      const nameOf = (each: readonly (string | null | undefined)[]): string => JSON.stringify(each);
      const found = new Map(
        documents.map((document) => {
          const own = textsOf(document, unique, source);
          return [nameOf(unique.map((field) => own[field])), keyIfAny(binding, document)];
        }),
      );
      return texts.map((each) => found.get(nameOf(each)));
    },
  };
}

/** A list that has the value among others is none. */
function filterOf(fields: readonly string[], texts: readonly string[], source: string): Document {
  return Object.fromEntries(
    fields.map((field, i) => {
      const value = decodeKey(canonicalOf(texts[i] ?? '') ?? '', source);
      return [field, { $eq: value, $not: { $type: 'array' } }];
    }),
  );
}

function missingIn(
  declared: Required<DeclaredSets>,
  wanted: DeclaredSets,
): readonly ['unique' | 'tags', readonly string[]] | undefined {
  for (const kind of ['unique', 'tags'] as const) {
    const isSame = (set: readonly string[]) => (each: readonly string[]) =>
      each.length === set.length && each.every((field) => set.includes(field));
    const missing = wanted[kind]?.find((set) => declared[kind]?.some(isSame(set)) !== true);
    if (missing !== undefined) return [kind, missing];
  }
  return undefined;
}
