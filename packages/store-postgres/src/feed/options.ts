import { type OptionsOf, option } from '@lockstep/core/kit';

export interface FeedOptions {
  /**
   * How long the rows of Lockstep's own writers are left to them before consumers take them, in ms.
   * @defaultValue 100
   */
  readonly graceMs?: number;
  /** How often consumers look when nothing wakes them, in ms. @defaultValue 200 */
  readonly pollMs?: number;
  /**
   * How long the store remembers a delete, in ms: the longest that a buffered write may be late, and as
   * far back as `replay` sees deletes. @defaultValue 3600000, an hour
   */
  readonly retainMs?: number;
  /** The longest a handler may take for a batch; it gets the batch again after that. @defaultValue 30000 */
  readonly handlerTimeoutMs?: number;
  /** The bound of each of the feed's own statements, in ms. @defaultValue 10000 */
  readonly statementTimeoutMs?: number;
  /** How long acknowledgements are gathered, in ms. @defaultValue 50 */
  readonly acknowledgeMs?: number;
  /** Acknowledgements that may wait; beyond it the oldest is forgotten. @defaultValue 20000 */
  readonly maxAcknowledgements?: number;
  /**
   * Listen on a connection of its own for foreign writes. Off behind a transaction pooler, which does
   * not carry notifications. @defaultValue the store's `prepared`
   */
  readonly listen?: boolean;
}

export type ResolvedFeedOptions = Required<FeedOptions>;

const DAY_MS = 86_400_000;

export const FEED = {
  graceMs: option.integer(100, 0, 60_000),
  pollMs: option.integer(200, 10, 60_000),
  retainMs: option.integer(3_600_000, 60_000, 30 * DAY_MS),
  handlerTimeoutMs: option.integer(30_000, 100, DAY_MS),
  statementTimeoutMs: option.integer(10_000, 100, 600_000),
  acknowledgeMs: option.integer(50, 1, 60_000),
  maxAcknowledgements: option.integer(20_000, 1, 1_000_000),
  listen: option.flag(undefined),
} satisfies OptionsOf<FeedOptions>;
