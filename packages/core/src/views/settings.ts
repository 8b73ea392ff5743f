import { INVALIDATE } from '../collection/call-options.js';
import { COLLECTION, NAME, SERIALIZER, TIMEOUT, TTL } from '../collection/settings.js';
import type { VerifyOptions, ViewOptions } from '../contracts/views.js';
import { HOUR_MS, type OptionsOf, option, type Settings } from '../kit/options.js';
import { NEAR_BOUNDS } from '../near/settings.js';

type AnyOptions = ViewOptions<never, never, never>;

export const VIEW = {
  name: option.required(NAME),
  load: option.required(option.callback<AnyOptions['load']>()),
  dependsOn: option.required(option.callback<AnyOptions['dependsOn']>()),
  params: COLLECTION.schema,
  schema: COLLECTION.schema,
  flushFirst: option.flag(false),
  near: option.optionalGroup(NEAR_BOUNDS),
  ttlMs: TTL,
  ttlJitter: COLLECTION.ttlJitter,
  serializer: SERIALIZER,
  maxPayloadBytes: COLLECTION.maxPayloadBytes,
  compression: COLLECTION.compression,
  storeTimeoutMs: TIMEOUT,
  leaseMs: COLLECTION.leaseMs,
  leaseWaitMs: COLLECTION.leaseWaitMs,
  maxConcurrentLoads: COLLECTION.maxConcurrentLoads,
  maxQueuedLoads: COLLECTION.maxQueuedLoads,
} satisfies OptionsOf<AnyOptions>;

/** A view's options, checked and complete. */
export type ViewSettings = Settings<typeof VIEW>;

export const VERIFY = {
  ...INVALIDATE,
  settleMs: option.integer(2_000, 0, HOUR_MS),
} satisfies OptionsOf<VerifyOptions>;
