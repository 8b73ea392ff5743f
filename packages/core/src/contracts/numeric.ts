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
