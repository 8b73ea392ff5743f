import { SIGNAL } from '../collection/call-options.js';
import { DEFAULT_TRANSACTION_TIMEOUT_MS, NAME } from '../collection/settings.js';
import type { CacheAdapter } from '../contracts/cache.js';
import type { AnnounceOptions } from '../contracts/fleet.js';
import type { BreakerOptions, LockstepOptions, TransactionOptions } from '../contracts/options.js';
import type { QueueAdapter } from '../contracts/queue.js';
import { DAY_MS, type OptionsOf, option, type Settings } from '../kit/options.js';
import { DEFAULT_PREFIX } from '../protocol/key.js';
import { COMPRESSION } from '../values/compression.js';
import { INTEGRITY } from '../values/integrity.js';
import { MODE } from '../write/transaction-mode.js';

const BREAKER = {
  threshold: option.integer(5, 1, 1_000_000),
  cooldownMs: option.integer(500, 1, DAY_MS),
} satisfies OptionsOf<BreakerOptions>;

const ANNOUNCE = {
  enabled: option.flag(true),
  name: option.is<string>(
    'a string of 1 to 64 characters',
    (name) => typeof name === 'string' && name !== '' && name.length <= 64 && name.isWellFormed(),
  ),
  intervalMs: option.integer(5_000, 1_000, 60_000),
} satisfies OptionsOf<AnnounceOptions>;

export type AnnounceSettings = Settings<typeof ANNOUNCE>;

export const LOCKSTEP = {
  cache: option.required(option.having<CacheAdapter>('a cache adapter', 'execute', 'read')),
  queue: option.having<QueueAdapter>('a queue adapter', 'enqueue'),
  prefix: { ...NAME, fallback: DEFAULT_PREFIX },
  cacheTimeoutMs: option.integer(250, 1, DAY_MS),
  queueTimeoutMs: option.integer(500, 1, DAY_MS),
  breaker: option.group(BREAKER),
  compression: option.optionalGroup(COMPRESSION),
  integrity: option.optionalGroup(INTEGRITY),
  announce: option.group(ANNOUNCE),
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
