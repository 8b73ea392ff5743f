/** Params that nobody gave: whatever is asked of them, or called on them, is they again. */
export type Probe = typeof probe;

/**
 * In the place of params when a view is defined: what its `dependsOn` names is checked then, not at the first read. What
 * else it makes of such params counts for nothing.
 */
export const probe: object = new Proxy(() => undefined, {
  get: (_, property) => (property === Symbol.toPrimitive ? () => '' : probe),
  apply: () => probe,
  construct: () => probe,
});
