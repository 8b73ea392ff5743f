type Property<Value> = keyof Value & string;

/** A unique index: a property, or several in a list. */
export type UniqueSet<Value> = Property<Value> | readonly Property<Value>[];

/** The unique indexes of a collection. */
export type UniqueSets<Value> = readonly UniqueSet<Value>[];

/** The value that a unique index is asked for: a property's, or an object of all of the index's properties. */
export type LookupValue<Value, Index> =
  Index extends Property<Value>
    ? NonNullable<Value[Index]>
    : Index extends readonly Property<Value>[]
      ? { readonly [Each in Index[number]]: NonNullable<Value[Each]> }
      : never;
