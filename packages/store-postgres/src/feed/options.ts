import { checkKnown, InvalidOptionError, numberOption } from '@lockstep/core';

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

const KNOWN: readonly (keyof FeedOptions)[] = [
  'graceMs',
  'pollMs',
  'retainMs',
  'handlerTimeoutMs',
  'statementTimeoutMs',
  'acknowledgeMs',
  'maxAcknowledgements',
  'listen',
];

/** Throws `InvalidOptionError` naming the option. */
export function resolveFeedOptions(options: FeedOptions = {}, prepared: boolean): ResolvedFeedOptions {
  checkKnown(options, KNOWN, 'feed');
  const { listen = prepared } = options;
  if (typeof listen !== 'boolean') throw new InvalidOptionError('feed.listen', 'must be true or false');
  const day = 86_400_000;
  return {
    graceMs: numberOption(options.graceMs, 100, 'feed.graceMs', { min: 0, max: 60_000 }),
    pollMs: numberOption(options.pollMs, 200, 'feed.pollMs', { min: 10, max: 60_000 }),
    retainMs: numberOption(options.retainMs, 3_600_000, 'feed.retainMs', { min: 60_000, max: 30 * day }),
    handlerTimeoutMs: numberOption(options.handlerTimeoutMs, 30_000, 'feed.handlerTimeoutMs', {
      min: 100,
      max: day,
    }),
    statementTimeoutMs: numberOption(options.statementTimeoutMs, 10_000, 'feed.statementTimeoutMs', {
      min: 100,
      max: 600_000,
    }),
    acknowledgeMs: numberOption(options.acknowledgeMs, 50, 'feed.acknowledgeMs', { min: 1, max: 60_000 }),
    maxAcknowledgements: numberOption(options.maxAcknowledgements, 20_000, 'feed.maxAcknowledgements', {
      min: 1,
      max: 1_000_000,
    }),
    listen,
  };
}
