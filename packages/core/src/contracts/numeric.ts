/** The form of a field that holds a number: text too where its type says so (`${number}`), and BSON's own classes. */
type Numeric =
  | number
  | bigint
  | `${number}`
  | { readonly _bsontype: 'Decimal128' | 'Double' | 'Int32' | 'Long' };

/** The fields that `increment` takes: numeric ones, and those whose type says nothing. */
export type NumericField<Value> = {
  [Field in keyof Value & string]-?: unknown extends Value[Field]
    ? Field
    : [NonNullable<Value[Field]>] extends [Numeric]
      ? Field
      : never;
}[keyof Value & string];

/** What became of a row that a transaction has changed, by whatever statement. */
export interface RowOutcome {
  /** The collection whose entry it is: one for each that shows the row. */
  readonly collection: string;
  readonly key: string;
  readonly version: Version;
  readonly cache: CacheOutcome;
}

/** The result of a committed transaction that was asked for its rows' outcomes. */
export interface TransactionResult<T> {
  readonly returned: T;
  readonly outcomes: readonly RowOutcome[];
}
