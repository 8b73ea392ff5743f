/** Each takes one rule of views out, by a wrapper around an adapter or around the load. */
export const VIEWS_CONTROLS = {
  'tokens-after-load': 'an entry gets the tokens that its tags have once it is loaded',
  'new-tags-only': "a write replaces only the tags of the row's new values",
  'missing-unchanged': 'a tag that is missing counts as unchanged',
  'old-generation': 'tokens count whichever generation of the cache they are of',
  'lagging-replica': 'views are loaded from a replica that lags',
} as const;

export type ViewsControl = keyof typeof VIEWS_CONTROLS;
