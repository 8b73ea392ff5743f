import type {
  CallOptions,
  CreateOptions,
  DeleteOptions,
  IncrementOptions,
  InvalidateAllOptions,
  InvalidateOptions,
  PatchOptions,
  PutOptions,
  ReadOneOptions,
  ReadOptions,
  Transaction,
  UpdateOptions,
  WriteOptions,
} from '../contracts/options.js';
import type { LockstepTraceMap } from '../contracts/traces.js';
import type { TransactionMode } from '../contracts/transaction-mode.js';
import { isVersion, NO_VERSION, type Version } from '../contracts/version.js';
import { type Amount, isAmount } from '../kit/decimal.js';
import { type OptionsOf, type OptionTable, option } from '../kit/options.js';
import { MODE } from '../write/transaction-mode.js';
import { TIMEOUT, TTL } from './settings.js';

export const SIGNAL = option.having<AbortSignal>('an AbortSignal', 'throwIfAborted', 'addEventListener');

export const INVALIDATE = {
  signal: SIGNAL,
  timeoutMs: { ...TIMEOUT, fallback: undefined },
} satisfies OptionsOf<InvalidateOptions>;

export const INVALIDATE_ALL = {
  ...INVALIDATE,
  maxPerSecond: option.integer(10_000, 1, 10_000_000),
  onProgress: option.callback<NonNullable<InvalidateAllOptions['onProgress']>>(),
} satisfies OptionsOf<InvalidateAllOptions>;

export const CALL = {
  ...INVALIDATE,
  // The write path checks whose transaction it is.
  tx: option.is<Transaction>('the transaction that lockstep.transaction() hands out', () => true),
} satisfies OptionsOf<CallOptions>;

const COLLECTION_TTL = { ...TTL, fallback: undefined };

export const READ = {
  ...CALL,
  fresh: option.flag(false),
  ttlMs: COLLECTION_TTL,
} satisfies OptionsOf<ReadOptions>;

export const READ_ONE = {
  ...READ,
  minVersion: option.is<Version>('a version', (version) => version === NO_VERSION || isVersion(version)),
} satisfies OptionsOf<ReadOneOptions>;

export const WRITE = { ...CALL, ttlMs: COLLECTION_TTL } satisfies OptionsOf<WriteOptions>;

export const CREATE = { ...WRITE } satisfies OptionsOf<CreateOptions>;

export const PUT = {
  ...WRITE,
  ifVersion: option.is<Version | null>(
    'a version or null',
    (version) => version === null || isVersion(version),
  ),
} satisfies OptionsOf<PutOptions>;

export const PATCH = {
  ...WRITE,
  ifVersion: option.is<Version>('a version', isVersion),
} satisfies OptionsOf<PatchOptions>;

export const DELETE = { ...PATCH } satisfies OptionsOf<DeleteOptions>;

const AMOUNT = option.is<Amount>('a finite number, a bigint or a decimal text', (amount) =>
  isAmount(amount as Amount),
);

export const INCREMENT = { ...WRITE, min: AMOUNT, max: AMOUNT } satisfies OptionsOf<IncrementOptions>;

export const UPDATE = {
  ...WRITE,
  retries: option.integer(10, 0, 1_000),
  fromCache: option.flag(true),
} satisfies OptionsOf<UpdateOptions>;

export const TRANSACT = { ...WRITE, ...MODE } satisfies OptionsOf<WriteOptions & TransactionMode>;

/** The traced operation of each table. */
export const OPERATIONS = new Map<OptionTable, LockstepTraceMap['write']['operation']>([
  [CREATE, 'create'],
  [PUT, 'put'],
  [PATCH, 'patch'],
  [DELETE, 'delete'],
  [INCREMENT, 'increment'],
  [UPDATE, 'update'],
  [TRANSACT, 'write'],
]);
