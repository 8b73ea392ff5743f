import type { StoreDeclarations } from '../contracts/declared.js';
import type { Change, ChangeFeed } from '../contracts/feed.js';
import type { ConsumerRegistry } from '../contracts/registry.js';
import type { NewRows } from '../contracts/rows.js';
import type {
  StoreAdapter,
  StoreCallOptions,
  StoreCommand,
  StoreOutcome,
  StoreReadOptions,
  StoreRow,
  StoreTransactionOptions,
  StoreWriteOptions,
  TransactionHost,
} from '../contracts/store.js';
import { StoreTimeoutError, StoreUnavailableError } from '../errors.js';
import { Deadline } from '../kit/wait.js';
import type { BoundaryCall, FaultPlan } from './plan.js';

/** The calls of a store that can fail. */
export type StoreCalls = {
  readonly read: {
    readonly input: { readonly keys: readonly string[]; readonly options: StoreReadOptions };
    readonly output: readonly (StoreRow<unknown> | undefined)[];
  };
  readonly write: {
    readonly input: {
      readonly commands: readonly StoreCommand<unknown>[];
      readonly options: StoreWriteOptions;
    };
    readonly output: readonly StoreOutcome<unknown>[];
  };
  readonly newRows: {
    readonly input: { readonly values: readonly unknown[]; readonly options: StoreCallOptions };
    readonly output: NewRows<unknown>;
  };
  readonly insert: {
    readonly input: { readonly value: unknown; readonly options: StoreCallOptions };
    readonly output: StoreRow<unknown>;
  };
  /** A look for rows by a unique index. */
  readonly find: {
    readonly input: { readonly texts: readonly (readonly string[])[]; readonly options: StoreCallOptions };
    readonly output: readonly (string | undefined)[];
  };
  /** A whole transaction: its effect is its commit. */
  readonly transaction: { readonly input: StoreTransactionOptions; readonly output: unknown };
  /** The feed calling a handler, a replay's too. */
  readonly deliver: { readonly input: readonly Change[]; readonly output: undefined };
  /** Any call of the feed's registry. */
  readonly registry: {
    readonly input: { readonly call: keyof ConsumerRegistry; readonly consumer: string };
    readonly output: unknown;
  };
  readonly acknowledge: {
    readonly input: readonly Pick<Change, 'source' | 'key' | 'version'>[];
    readonly output: undefined;
  };
};

/** As every store's adapter, the wrapper ends its calls in their time, whatever the fault. */
const inTime =
  (name: string, { signal, timeoutMs }: StoreCallOptions): BoundaryCall<StoreCalls['read']>['bounded'] =>
  (fault, clock) => {
    const late = (): Error => new StoreTimeoutError(`${name}: no answer within ${timeoutMs} ms`);
    return new Deadline({ clock, timeoutMs, signal, late }).bound(fault);
  };

/** A fault's errors. */
const errors = {
  refusal: (message: string): Error => new StoreUnavailableError(message, 'not-committed'),
  loss: (message: string): Error => new StoreUnavailableError(message, 'unknown'),
};

/** By plan, so that bindings of one database still share one host and one feed. */
const wrappers = new WeakMap<FaultPlan<StoreCalls>, WeakMap<object, object>>();

function shared<T extends object>(plan: FaultPlan<StoreCalls>, inner: T, wrap: () => T): T {
  const ofPlan = wrappers.get(plan) ?? new WeakMap<object, object>();
  wrappers.set(plan, ofPlan);
  const wrapped = (ofPlan.get(inner) as T | undefined) ?? wrap();
  ofPlan.set(inner, wrapped);
  return wrapped;
}

function faultyHost<Tx>(host: TransactionHost<Tx>, plan: FaultPlan<StoreCalls>): TransactionHost<Tx> {
  return {
    async transaction<T>(body: Parameters<typeof host.transaction<T>>[0], options: StoreTransactionOptions) {
      const effect = () => host.transaction(body, options);
      return (await plan.run('transaction', { input: options, effect, ...errors })) as T;
    },
  };
}

function faultyRegistry(registry: ConsumerRegistry, plan: FaultPlan<StoreCalls>): ConsumerRegistry {
  type Call = (consumer: string, ...rest: unknown[]) => Promise<unknown>;
  const calls = [
    ...(['register', 'read', 'forget', 'end', 'switch'] as const),
    ...(['observe', 'lease', 'replayed', 'release'] as const),
  ];
  const faulty = calls.map((call): [string, Call] => [
    call,
    (consumer, ...rest) => {
      const effect = () => (registry[call] as Call)(consumer, ...rest);
      return plan.run('registry', { input: { call, consumer }, effect, ...errors });
    },
  ]);
  const consumers: Call = async (sources) => registry.consumers(sources as unknown as readonly string[]);
  return Object.fromEntries([...faulty, ['consumers', consumers]]) as unknown as ConsumerRegistry;
}

function faultyFeed(feed: ChangeFeed, plan: FaultPlan<StoreCalls>): ChangeFeed {
  type Handler = (changes: readonly Change[]) => Promise<void>;
  const faulty =
    (handler: Handler): Handler =>
    async (changes) => {
      const effect = async (): Promise<undefined> => void (await handler(changes));
      await plan.run('deliver', { input: changes, effect, ...errors });
    };
  return {
    name: feed.name,
    consume: (handler, options) => feed.consume(faulty(handler), options),
    acknowledge(changes, under) {
      const effect = async (): Promise<undefined> => void feed.acknowledge(changes, under);
      // Acknowledging never throws: a lost acknowledgement costs an invalidation.
      plan.run('acknowledge', { input: changes, effect, ...errors }).catch(() => {});
    },
    status: (sources, consumer) => feed.status(sources, consumer),
    replay: (since, handler, options) => feed.replay(since, faulty(handler), options),
    registry: faultyRegistry(feed.registry, plan),
    ...(feed.alterations && { alterations: feed.alterations }),
    close: () => feed.close(),
  };
}

function faultyDeclarations(
  name: string,
  declared: StoreDeclarations<StoreCallOptions>,
  plan: FaultPlan<StoreCalls>,
): StoreDeclarations<StoreCallOptions> {
  return {
    columnOf: (property) => declared.columnOf(property),
    check: (sets) => declared.check(sets),
    textOf: (property, value) => declared.textOf(property, value),
    async find(unique, texts, options) {
      const bounded = inTime(name, options);
      const effect = () => declared.find(unique, texts, options);
      return await plan.run('find', { bounded, input: { texts, options }, effect, ...errors });
    },
  };
}

/**
 * The store with the plan's faults at its boundary: `StoreUnavailableError`s unless told otherwise, of
 * outcome `not-committed` for a refusal and `unknown` for a loss.
 */
export function faultyStore<Value, Id, Tx>(
  store: StoreAdapter<Value, Id, Tx>,
  plan: FaultPlan<StoreCalls>,
): StoreAdapter<Value, Id, Tx> {
  const { check, feed, insert, newRows, returnsAsSent, transactions } = store;
  const run = async <Op extends 'read' | 'write' | 'newRows' | 'insert', Output>(
    op: Op,
    input: StoreCalls[Op]['input'],
    effect: () => Promise<Output & StoreCalls[Op]['output']>,
  ): Promise<Output> => {
    const bounded = inTime(store.name, input.options);
    return (await plan.run(op, { bounded, input, effect, ...errors })) as Output;
  };
  return {
    name: store.name,
    source: store.source,
    capabilities: store.capabilities,
    transactions: transactions && shared(plan, transactions, () => faultyHost(transactions, plan)),
    feed: feed && shared(plan, feed, () => faultyFeed(feed, plan)),
    fence: store.fence,
    serializer: store.serializer,
    shape: store.shape,
    carrier: store.carrier,
    declared: store.declared && faultyDeclarations(store.name, store.declared, plan),
    open: async (options) => store.open?.(options),
    identity: async (options) => store.identity?.(options),
    keyOf: (id) => store.keyOf(id),
    ...(check && { check: (key, value) => check.call(store, key, value) }),
    ...(returnsAsSent && { returnsAsSent: (set) => returnsAsSent.call(store, set) }),
    read: (keys, options) => run('read', { keys, options }, () => store.read(keys, options)),
    write: (commands, options) => run('write', { commands, options }, () => store.write(commands, options)),
    ...(newRows && {
      newRows: (values, options) =>
        run('newRows', { values, options }, async () => newRows.call(store, values, options)),
    }),
    ...(insert && {
      insert: (value, options) => run('insert', { value, options }, () => insert.call(store, value, options)),
    }),
    close: () => store.close(),
  };
}
