import type {
  StoreAdapter,
  StoreCommand,
  StoreOutcome,
  StoreReadOptions,
  StoreRow,
  StoreWriteOptions,
} from '../../src/contracts/store.js';
import { StoreRefusedError, StoreTimeoutError, StoreUnavailableError } from '../../src/errors.js';
import { withTimeout } from '../../src/kit/wait.js';
import type { MemoryStore } from '../../src/memory/index.js';
import type { Scheduler } from './scheduler.js';
import { SimTransactions } from './sim-transactions.js';

export interface SimStoreOptions<Value> {
  readonly inner: MemoryStore<Value>;
  readonly scheduler: Scheduler;
  /** The chance that a write is refused, or its reply lost. */
  readonly faults: () => number;
  readonly versioned: boolean;
  /** What a replica that lags shows of a key; absent: reads with `primary: false` see the primary, too. */
  readonly lagging?: ((key: string) => StoreRow<Value> | undefined) | undefined;
  readonly committed: (key: string, value: Value | null, version: number) => void;
  /**
   * How long, in ms, a statement is held on its way, and a commit in the server, past all time-outs; absent: what is
   * late is not executed.
   */
  readonly heldMs?: (() => number) | undefined;
}

/** Beyond all deadlines of a run. */
const FAR_MS = 3_600_000;

/** The memory store across a network: arrival and reply are events. */
export function simStore<Value>(options: SimStoreOptions<Value>): StoreAdapter<Value> {
  const { inner, scheduler, faults, versioned, lagging, committed, heldMs } = options;
  const { feed, ...unfed } = inner;
  const transactions = new SimTransactions(inner.transactions, scheduler);
  /** An adapter's side of the contract: its caller is told in time, whatever becomes of the call. */
  const inTime = <T>(timeoutMs: number, work: Promise<T>): Promise<T> =>
    withTimeout(scheduler.clock, work, timeoutMs, () => new StoreTimeoutError('no answer'));
  const visible = (version: number): number => (versioned ? version : 0);
  async function read(
    keys: readonly string[],
    { lock, primary, timeoutMs, tx }: StoreReadOptions,
  ): Promise<(StoreRow<Value> | undefined)[]> {
    await scheduler.deliver();
    const rows =
      lagging === undefined || primary
        ? await inner.read(keys, { timeoutMs, primary: true, tx, ...(lock === undefined ? {} : { lock }) })
        : keys.map(lagging);
    await scheduler.deliver();
    return rows.map((row) => (row === undefined ? undefined : { ...row, version: visible(row.version) }));
  }

  async function write(
    commands: readonly StoreCommand<Value>[],
    { notAfterMs, timeoutMs, tx }: StoreWriteOptions,
  ): Promise<StoreOutcome<Value>[]> {
    const startedAt = scheduler.clock.monotonic();
    await scheduler.deliver();
    // A buffered write that is refused is set aside: it is no loss, and tested elsewhere.
    if (scheduler.chance(faults()) && commands.every(({ kind }) => kind !== 'flush')) {
      const error = new StoreRefusedError('refused by the simulation');
      return commands.map(() => ({ kind: 'failed', error }));
    }
    // A store's side of the contract: a statement that is late is not executed.
    const late = (): boolean => scheduler.clock.monotonic() - startedAt >= timeoutMs;
    if (heldMs === undefined && late()) throw new StoreTimeoutError('late');
    const outcomes =
      heldMs === undefined || tx !== undefined
        ? await inner.write(commands, { timeoutMs, notAfterMs, tx })
        : await heldWrite(options, heldMs, commands, notAfterMs);
    commands.forEach(({ key }, i) => {
      const outcome = outcomes[i];
      transactions.told(tx, outcome, () => {
        if (outcome?.kind === 'written') committed(key, outcome.value, outcome.version);
      });
    });
    await scheduler.deliver();
    if (scheduler.chance(faults())) throw new StoreUnavailableError('the reply was lost', 'unknown');
    return outcomes.map(
      (outcome): StoreOutcome<Value> =>
        outcome.kind === 'written' ? { ...outcome, version: visible(outcome.version) } : outcome,
    );
  }

  return {
    ...unfed,
    transactions,
    ...(versioned ? { feed } : {}),
    capabilities: versioned
      ? { ...inner.capabilities, replicaReads: lagging !== undefined }
      : { ...inner.capabilities, versioned: false, compareAndSet: false, changeFeed: false, restamp: false },
    read: (keys, call) => inTime(call.timeoutMs, read(keys, call)),
    write: (commands, call) => inTime(call.timeoutMs, write(commands, call)),
  };
}

/** A write that the network, or a process that is stopped, holds up, and whose commit the server holds up. */
async function heldWrite<Value>(
  { inner, scheduler }: SimStoreOptions<Value>,
  heldMs: () => number,
  commands: readonly StoreCommand<Value>[],
  notAfterMs = Number.POSITIVE_INFINITY,
): Promise<readonly StoreOutcome<Value>[]> {
  const { clock } = scheduler;
  const held = (): Promise<void> =>
    new Promise((resolve) => {
      clock.schedule(resolve, heldMs());
    });
  await held();
  const keys = commands.map(({ key }) => key);
  const far = { timeoutMs: FAR_MS };
  return await inner.transactions.transaction(async (tx) => {
    await inner.fence?.enter(keys, { ...far, tx });
    if (clock.now() > notAfterMs) throw new StoreTimeoutError('it came after its deadline');
    const outcomes = await inner.write(commands, { ...far, tx });
    await held();
    return outcomes;
  }, far);
}
