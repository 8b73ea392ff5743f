import type { Row } from '../wire/pipeline.js';

/** Rows whose values don't all travel as they are, with their texts. */
const rows = new WeakMap<object, Row>();

/** True when the process has parsers of its own: their values can't be told from others, so all texts are kept. */
let keepsAll = false;

/** From now on every row's texts are kept. */
export function keepAllTexts(): void {
  keepsAll = true;
}

/** A row as pg's parsers made it. Its texts are kept as long as it is. */
export function rowValue<Value>(row: Row): Value {
  if (row.odd || keepsAll) rows.set(row.value, row);
  return row.value as Value;
}

/** A copy's texts are those of the row. */
export function copied(value: object, copy: object): void {
  const row = rows.get(value);
  if (row !== undefined) rows.set(copy, row);
}

/** The texts that the server sent for a row that {@link rowValue} gave. */
export function textsOf(value: object): ReadonlyMap<string, string | null> | undefined {
  return rows.get(value)?.texts();
}
