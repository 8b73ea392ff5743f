/** A row of the run. */
export interface ViewRow {
  readonly _id: string;
  readonly category: string | null;
  readonly shelf: number;
  /** The key of another row, which `pair` shows, too. */
  readonly ref: string;
  /** The token of the write that put the row there: no two writes share one. */
  readonly token: string;
}

/** The table's, and the collection's, name. */
export const TABLE = 'viewed';

export const KEYS: readonly string[] = Array.from({ length: 12 }, (_, i) => `k${i}`);
/** Values that are told apart only by who compares them exactly. */
export const CATEGORIES = ['', 'a', 'A', 'b:c%d', null] as const;
export const SHELVES = [0, 1] as const;

export type Category = (typeof CATEGORIES)[number];

/** One reading of a view. */
export type Query =
  | { readonly view: 'category'; readonly category: Category }
  | { readonly view: 'shelf'; readonly category: Category; readonly shelf: number }
  | { readonly view: 'all' }
  | { readonly view: 'pair'; readonly key: string };

/** The readings that most rows are in. */
export const LISTS: readonly Query[] = [
  { view: 'all' },
  ...CATEGORIES.map((category): Query => ({ view: 'category', category })),
];

/** Every reading that there is. */
export const QUERIES: readonly Query[] = [
  { view: 'all' },
  ...CATEGORIES.flatMap((category): Query[] => [
    { view: 'category', category },
    ...SHELVES.map((shelf): Query => ({ view: 'shelf', category, shelf })),
  ]),
  ...KEYS.map((key): Query => ({ view: 'pair', key })),
];
