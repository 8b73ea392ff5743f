import type { ColumnTexts } from '../../contracts/declared.js';
import { InvalidIdError } from '../../errors.js';
import { declaredText } from '../../kit/declared-text.js';

/** The text of a value that the store compares by `===`, and bigints as the numbers they are. Throws `InvalidIdError`. */
export function textOf(value: unknown): string | null {
  if (value === undefined || value === null) return null;
  if (typeof value === 'string') return declaredText(`s${value}`);
  if (typeof value === 'boolean') return declaredText(`b${value}`);
  if (typeof value === 'bigint' || Number.isFinite(value)) return declaredText(`n${value === 0 ? 0 : value}`);
  throw new InvalidIdError(`expected text, a number, a bigint or a boolean, got ${typeof value}`);
}

/** The texts of a row. What has none counts as no value: nobody can ask for it. */
export function textsOf(row: unknown, properties: Iterable<string>): ColumnTexts {
  const texts: Record<string, string | null> = {};
  for (const property of properties) {
    try {
      texts[property] = textOf((row as Readonly<Record<string, unknown>> | null)?.[property]);
    } catch {
      texts[property] = null;
    }
  }
  return texts;
}
