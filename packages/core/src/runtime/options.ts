import { SIGNAL } from '../collection/call-options.js';
import { DEFAULT_TRANSACTION_TIMEOUT_MS, NAME } from '../collection/settings.js';
import type { CacheAdapter } from '../contracts/cache.js';
import type { BreakerOptions, LockstepOptions, TransactionOptions } from '../contracts/options.js';
import type { QueueAdapter } from '../contracts/queue.js';
import { type OptionsOf, option } from '../kit/options.js';
import { DEFAULT_PREFIX } from '../protocol/key.js';
import { COMPRESSION } from '../values/compression.js';
import { INTEGRITY } from '../values/integrity.js';
import { MODE } from '../write/transaction-mode.js';

const DAY_MS = 24 * 3_600_000;

const BREAKER = {
  threshold: option.integer(5, 1, 1_000_000),
  cooldownMs: option.integer(500, 1, DAY_MS),
} satisfies OptionsOf<BreakerOptions>;

export const LOCKSTEP = {
  cache: option.required(option.having<CacheAdapter>('a cache adapter', 'execute', 'read')),
  queue: option.having<QueueAdapter>('a queue adapter', 'enqueue'),
  prefix: { ...NAME, fallback: DEFAULT_PREFIX },
  cacheTimeoutMs: option.integer(250, 1, DAY_MS),
  queueTimeoutMs: option.integer(500, 1, DAY_MS),
  breaker: option.group(BREAKER),
  compression: option.optionalGroup(COMPRESSION),
  integrity: option.optionalGroup(INTEGRITY),
  clock: option.clock(),
  random: option.random(),
} satisfies OptionsOf<LockstepOptions>;

export const TRANSACTION = {
  on: option.is<NonNullable<TransactionOptions['on']>>('a store', (on) => typeof on === 'object'),
  timeoutMs: option.integer(DEFAULT_TRANSACTION_TIMEOUT_MS, 1, DAY_MS),
  signal: SIGNAL,
  outcomes: option.flag(false),
  ...MODE,
} satisfies OptionsOf<TransactionOptions>;
