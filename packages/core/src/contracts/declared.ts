/**
 * The texts of a row's declared columns, by the store's names of the columns: what the cache names lookups by. Equal
 * values have one text, in every process and in the store (`declaredText` of `@lockstep/core/kit`). `null`: the row has no
 * value there.
 */
export type ColumnTexts = Readonly<Record<string, string | null>>;

/** The effect of a change on a row's declared columns. */
export interface ChangedTexts {
  /**
   * One for each state of the row that the change began at, passed or ended at; whether a row had, has or gets a value
   * makes no difference to what is named by it. So may come states of earlier changes by others. Absent: not known, or
   * nothing is declared.
   */
  readonly texts?: readonly ColumnTexts[] | undefined;
}

/** Lists of properties whose values the store tells with each change. */
export interface DeclaredSets {
  /** Each is a unique index. */
  readonly unique?: readonly (readonly string[])[] | undefined;
  /** Each names groups of rows. */
  readonly tags?: readonly (readonly string[])[] | undefined;
}

/**
 * How a store tells the values of declared columns with each change, and finds rows by them.
 *
 * @typeParam Call the bound of a call, and the transaction that it belongs to: `StoreCallOptions`
 */
export interface StoreDeclarations<Call> {
  /** The store's name of a property. Synchronous, before `open`, too. */
  columnOf(property: string): string;
  /**
   * Checks, of an open store, that changes are told with the values of these sets. Rejects with `InvalidOptionError` naming the
   * set and what to do: values without one text, no unique index on exactly these columns, not recorded. Bounded.
   */
  check(sets: DeclaredSets): Promise<void>;
  /** The text of a property's value, as a caller or a row has it; `null`: none. After `check`. Throws `InvalidIdError`. */
  textOf(property: string, value: unknown): string | null;
  /**
   * Keys of the rows that hold these texts in a unique set, position by position; `undefined` where there is none. Where
   * writes go, never from a replica. Rejects as a whole, with a `StoreError`.
   */
  find(
    unique: readonly string[],
    texts: readonly (readonly string[])[],
    options: Call,
  ): Promise<readonly (string | undefined)[]>;
}
