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
}

/** The text of a field's value; values that MongoDB holds for equal share one. `null`: none. Throws `InvalidIdError`. */
export function fieldText(value: unknown, source: string): string | null {
  if (value === undefined || value === null) return null;
  const isLong = typeof value === 'string' && value.length > MAX_TEXT;
  return declaredText(isLong ? value : encodeKey(value, source));
}

/** The texts of a document. What has none (a list, say) counts as no value: nobody can ask for it. */
export function textsOf(document: Document, fields: readonly string[], source: string): ColumnTexts {
  const texts: Record<string, string | null> = {};
  for (const field of fields) {
    try {
      texts[field] = fieldText(document[field], source);
    } catch {
      texts[field] = null;
    }
  }
  return texts;
}
