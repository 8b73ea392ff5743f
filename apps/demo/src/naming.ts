/** The collection's name, and its table's. */
export const COLLECTION = 'products';
/** The same of the reviews. */
export const REVIEWS = 'reviews';
/** The start of all cache keys of the shop. */
export const PREFIX = 'shop';
/** The start of the naive engine's keys. */
export const NAIVE_PREFIX = 'naive:products:';
/** The start of its lists' keys: not among the products'. */
export const NAIVE_LISTS_PREFIX = 'naive:lists:';
/** How long an entry of the naive engine lives, in ms: as long as Lockstep's do by default. */
export const NAIVE_TTL_MS = 3_600_000;
/** Everything listens here and nowhere else. */
export const LOOPBACK = '127.0.0.1';
