import './node-version.js';

// For applications.

export type {
  CacheOutcome,
  Collection,
  CollectionInfo,
  InvalidatedAll,
  Lockstep,
  RowOutcome,
  ThroughRecord,
  TransactionResult,
  Versioned,
  WriteResult,
} from './contracts/api.js';
export type {
  AnnouncedPart,
  AnnouncedSettings,
  Announcement,
  AnnounceOptions,
  Figures,
  Fleet,
} from './contracts/fleet.js';
export type { IntegrityKey, IntegrityOptions } from './contracts/integrity.js';
export type { NearBounds, NearOptions, NearStatus } from './contracts/near.js';
export type { NumericField } from './contracts/numeric.js';
export type {
  BatchOptions,
  BreakerOptions,
  BurstOptions,
  CallbackContext,
  CallOptions,
  CollectionOptions,
  CompressionOptions,
  Consistency,
  CreateOptions,
  DeleteOptions,
  IncrementOptions,
  InvalidateAllOptions,
  InvalidateOptions,
  LockstepOptions,
  OpenOptions,
  PatchOptions,
  PutOptions,
  ReadOneOptions,
  ReadOptions,
  Strategy,
  ThroughOptions,
  Transaction,
  TransactionOptions,
  UpdateOptions,
  WriteOptions,
} from './contracts/options.js';
export type { MissReason } from './contracts/outcome.js';
export type { Relay, RelayOptions, RelayStatus } from './contracts/relay.js';
export type {
  Dependency,
  VerifyOptions,
  View,
  ViewComparison,
  ViewContext,
  ViewInfo,
  ViewOptions,
} from './contracts/views.js';
export { type CallbackStoreOptions, type CreatedRecord, callbackStore } from './stores/callback-store.js';

// For adapters.

export type {
  CacheAdapter,
  CacheInfo,
  CacheProbe,
  ChangeListener,
  ChangeWatch,
  InspectedEntry,
  NoticeBoard,
  ScannedEntry,
  ScanOptions,
  UnflushedIndex,
  UnflushedKey,
} from './contracts/cache.js';
export {
  type BufferCommand,
  type BufferReply,
  type CacheCommand,
  type CacheHead,
  type CacheHit,
  type CacheReply,
  type FillCommand,
  type FillReply,
  type FlushedCommand,
  type FlushedReply,
  type IntendCommand,
  type InvalidateCommand,
  type InvalidateReply,
  type LeaseCommand,
  type LeaseReply,
  MAX_TAG_BYTES,
  MAX_TOKEN_BYTES,
  type Payload,
  type PayloadEncoding,
  type PutCommand,
  type PutReply,
  type RefreshCommand,
  type RefreshReply,
  type ReleaseCommand,
  type ReleaseReply,
  type ReplyOf,
  type ReserveCommand,
  type ReserveReply,
  type TagCommand,
  type TagReply,
} from './contracts/cache-commands.js';
export { type CancelTimer, type Clock, systemClock } from './contracts/clock.js';
export type {
  ChangedTexts,
  ColumnTexts,
  DeclaredSets,
  StoreDeclarations,
} from './contracts/declared.js';
export type {
  BufferRefusal,
  BufferState,
  LockstepEventMap,
  LockstepEventName,
  LockstepEvents,
  LockstepListener,
} from './contracts/events.js';
export type {
  Alteration,
  Alterations,
  Change,
  ChangeFeed,
  FeedClaimant,
  FeedConsumeOptions,
  FeedStatus,
} from './contracts/feed.js';
export { jobProblem } from './contracts/job-problem.js';
export type { LookupValue, UniqueSet, UniqueSets } from './contracts/lookups.js';
export {
  type DeadLetter,
  type DeadLetters,
  type FlushJob,
  type InvalidateJob,
  jobIdentity,
  type QueueAdapter,
  type QueueConsumeOptions,
  type QueueConsumer,
  type QueueJob,
  type QueueStatus,
  type RefusedWrite,
  type UnreadableJob,
} from './contracts/queue.js';
export type {
  ConsumerRecord,
  ConsumerRegistry,
  ConsumerState,
  Epochs,
  RecordedCollection,
  RecordedConsumer,
} from './contracts/registry.js';
export type { NewRow, NewRows, RowCarrier, RowShape, StoreShape } from './contracts/rows.js';
export type { Serializer } from './contracts/serializer.js';
export type { LockstepStatus, SwitchedOff } from './contracts/status.js';
export type {
  RowPatch,
  StoreAdapter,
  StoreCallOptions,
  StoreCommand,
  StoreDelete,
  StoreFence,
  StoreFlush,
  StoreIncrement,
  StoreInstallation,
  StoreOutcome,
  StorePatch,
  StorePut,
  StoreReadOptions,
  StoreRestamp,
  StoreRow,
  StoreTransaction,
  StoreTransactionOptions,
  StoreWriteOptions,
  TransactionHost,
} from './contracts/store.js';
export type { StoreCapabilities } from './contracts/store-capabilities.js';
export type { StoreOpenOptions } from './contracts/store-open.js';
export type { KeptChange, KeptOfRow, StoreFinding, StoreRepair } from './contracts/tools.js';
export type { LockstepTraceMap, LockstepTraceName, TraceContext } from './contracts/traces.js';
export type { Isolation, TransactionMode } from './contracts/transaction-mode.js';
export {
  believedUpTo,
  isBelievable,
  isVersion,
  MAX_HOLE_MS,
  MAX_LEAD_MS,
  MAX_VERSION_AHEAD_MS,
  NO_VERSION,
  type Version,
} from './contracts/version.js';
export {
  CacheUnavailableError,
  ClosedError,
  ConflictError,
  DuplicateCollectionError,
  InvalidIdError,
  InvalidOptionError,
  JobRefusedError,
  LockstepError,
  type LockstepErrorCode,
  type LockstepErrorOptions,
  messageOf,
  NotReadyError,
  type NotReadyProblem,
  PartialWriteError,
  QueueUnavailableError,
  SerializationError,
  StoreBusyError,
  StoreContractError,
  type StoreError,
  StoreInsecureError,
  StoreOverloadedError,
  StoreRefusedError,
  type StoreRefusedOptions,
  StoreSetupError,
  StoreTimeoutError,
  StoreUnavailableError,
  TransactionOverError,
  UnsupportedError,
  ValidationError,
  VersionNotFoundError,
} from './errors.js';
export {
  type Entry,
  type ForeignEntry,
  type HoleEntry,
  hitOf,
  type Intent,
  type Transition,
  type ValueEntry,
} from './protocol/entry.js';
export { checkKey, DEFAULT_PREFIX, keyPrefix, MAX_KEY_LENGTH } from './protocol/key.js';
export { applyCommand } from './protocol/transitions.js';
export { createLockstep } from './runtime/lockstep.js';
export { jsonSerializer } from './serializers/json.js';
export { foldAhead } from './stores/ahead.js';
export { checkTransactionMode } from './write/transaction-mode.js';
