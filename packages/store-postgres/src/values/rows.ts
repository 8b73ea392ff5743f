import type { Row } from '../wire/pipeline.js';

/** True when the process has parsers of its own: their values can't be told from others, so all texts are kept. */
let keepsAll = false;

/** From now on every row's texts are kept. */
export function keepAllTexts(): void {
  keepsAll = true;
}

/** A constructor whose instance is the object that it is given. */
const Given = function given(value: object): object {
  return value;
} as unknown as new (
  value: object,
) => object;

/**
 * Notes on a value the row that it came in, in a private field: nothing else finds it there, no copy has it, and it ends
 * with the value. A `WeakMap` of rows that come and go costs a put 2 µs, most of them collections; this costs 0.06.
 */
class Noted extends Given {
  #row: Row;

  private constructor(value: object, row: Row) {
    super(value);
    this.#row = row;
  }

  static note(value: object, row: Row): void {
    if (#row in value) value.#row = row;
    else new Noted(value, row);
  }

  static rowOf(value: object): Row | undefined {
    return #row in value ? value.#row : undefined;
  }
}

/** A row as pg's parsers made it. Its texts are kept as long as it is, unless all its values travel as they are. */
export function rowValue<Value>(row: Row): Value {
  if (row.odd || keepsAll) Noted.note(row.value, row);
  return row.value as Value;
}

/** A copy's texts are those of the row. */
export function copied(value: object, copy: object): void {
  const row = Noted.rowOf(value);
  if (row !== undefined) Noted.note(copy, row);
}

/** The texts that the server sent for a row that {@link rowValue} gave. */
export function textsOf(value: object): ReadonlyMap<string, string | null> | undefined {
  return Noted.rowOf(value)?.texts();
}
