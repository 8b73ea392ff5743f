import type { ColumnTexts, DeclaredSets } from '@lockstep/core';
import { declaredText } from '@lockstep/core/kit';
import type { Document } from 'mongodb';
import { encodeKey } from './key.js';

/** Longer texts are told by their hash, whatever they are. */
const MAX_TEXT = 1_000;

/** The fields of one collection whose values each change tells, as `attach` has recorded them. */
export class DeclaredFields {
  unique: readonly (readonly string[])[] = [];
  tags: readonly (readonly string[])[] = [];
  /** The fields of all sets. */
  fields: readonly string[] = [];
  /** The fields of tags. */
  tagged: readonly string[] = [];

  set({ tags = [], unique = [] }: DeclaredSets): void {
    this.unique = unique;
    this.tags = tags;
    this.tagged = [...new Set(tags.flat())];
    this.fields = [...new Set([...unique, ...tags].flat())];
  }

  /** Rows are looked up by it, which finds no list, and no tag is made of it. */
  isUniqueOnly(field: string): boolean {
    return !this.tagged.includes(field) && this.unique.some((set) => set.includes(field));
  }
}

/** The text of a field's value; values that MongoDB holds for equal share one. `null`: none. Throws `InvalidIdError`. */
export function fieldText(value: unknown, source: string): string | null {
  if (value === undefined || value === null) return null;
  const isLong = typeof value === 'string' && value.length > MAX_TEXT;
  return declaredText(isLong ? value : encodeKey(value, source));
}

/** More states of one row are not told one by one: a list in a field makes one for each of its values. */
const MAX_STATES = 64;

/** The texts of a document, by what looks it up: a list has none. */
export function textsOf(document: Document, fields: readonly string[], source: string): ColumnTexts {
  return Object.fromEntries(fields.map((field) => [field, textIfAny(document[field], source)]));
}

/**
 * The states of a document by its declared fields. A query finds a list by each of its values, so a list makes a state for
 * each; what has no text otherwise counts as no value: nobody can ask for it. Where there are too many, the list's field is
 * left out: not known.
 */
export function statesOf(
  { declared, source }: { readonly declared: DeclaredFields; readonly source: string },
  document: Document,
  fields: readonly string[],
): ColumnTexts[] {
  let states: Record<string, string | null>[] = [textsOf(document, fields, source)];
  for (const field of fields) {
    const value: unknown = document[field];
    if (!Array.isArray(value) || value.length === 0) continue;
    const texts = new Set(value.map((each: unknown) => textIfAny(each, source)));
    if (texts.size * states.length <= MAX_STATES) {
      states = states.flatMap((state) => [...texts].map((text) => ({ ...state, [field]: text })));
    } else if (!declared.isUniqueOnly(field)) {
      states = states.map(({ [field]: _list, ...rest }) => rest);
    }
  }
  return states;
}

function textIfAny(value: unknown, source: string): string | null {
  try {
    return fieldText(value, source);
  } catch {
    return null;
  }
}
