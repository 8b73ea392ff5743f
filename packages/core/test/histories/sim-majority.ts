import type {
  StoreAdapter,
  StoreCommand,
  StoreOutcome,
  StoreRow,
  StoreTransaction,
  TransactionHost,
} from '../../src/contracts/store.js';
import { StoreUnavailableError } from '../../src/errors.js';
import type { Scheduler } from './scheduler.js';

/** What a store's own transactions let a caller's statements do: they stamp no versions. */
export interface OwnStatements<Value> {
  set(key: string, value: Value): void;
}

export interface SimMajorityOptions<Value> {
  readonly scheduler: Scheduler;
  readonly committed: (key: string, value: Value | null, version: number) => void;
  /**
   * Where a transaction looks to tell what its caller's own statements have changed: what the primary has, or what a
   * majority has, as readers see it. @defaultValue 'primary'
   */
  readonly looksAt?: 'primary' | 'majority';
}

interface State<Value> {
  readonly value: Value | null;
  readonly version: number;
}

const NONE = { value: null, version: 0 } as const;

/**
 * A replicated store without triggers: a write is committed on the primary first, seen by readers once a majority
 * has it, and acknowledged after that. In between others write on top of it.
 */
export class SimMajority<Value> implements TransactionHost {
  readonly #options: SimMajorityOptions<Value>;
  /** Tombstones among them: `value` is null. */
  readonly #primary = new Map<string, State<Value>>();
  readonly #majority = new Map<string, State<Value>>();
  /** Commits that no majority has yet, in their order. */
  readonly #log: { readonly key: string; readonly state: State<Value> }[] = [];
  readonly adapter: StoreAdapter<Value>;

  constructor(options: SimMajorityOptions<Value>) {
    this.#options = options;
    this.adapter = {
      name: 'majority',
      source: 'rows',
      capabilities: {
        versioned: true,
        compareAndSet: true,
        transactions: true,
        changeFeed: false,
        increment: false,
        restamp: true,
        flush: false,
        replicaReads: false,
        batching: true,
      },
      transactions: this,
      keyOf: (id) => id,
      read: (keys, { tx }) =>
        tx === undefined ? this.#read(keys) : (tx as MajorityTransaction<Value>).read(keys),
      write: (commands) => this.#write(commands),
      close: async () => undefined,
    };
  }

  stateOf(key: string): State<Value> {
    return this.#primary.get(key) ?? NONE;
  }

  seenBy(looksAt: 'primary' | 'majority', key: string): State<Value> {
    return (looksAt === 'primary' ? this.#primary : this.#majority).get(key) ?? NONE;
  }

  /** A new version, by the clock of the primary. */
  stamp(key: string, above: number): number {
    const now = this.#options.scheduler.clock.now() * 1_000;
    const { version } = this.stateOf(key);
    return Math.max(now, version + 2 - (version % 2), above + 2 - (above % 2));
  }

  async transaction<T>(body: (tx: StoreTransaction) => Promise<T>): Promise<T> {
    const { scheduler, looksAt = 'primary' } = this.#options;
    for (let tries = 0; tries < 20; tries++) {
      const tx = new MajorityTransaction<Value>(this, looksAt, () => scheduler.deliver());
      const result = await body(tx);
      await scheduler.deliver();
      if (!tx.conflicts()) {
        for (const [key, state] of tx.written()) this.#commit(key, state);
        await this.#replicated();
        return result;
      }
    }
    throw new StoreUnavailableError('it always met another one', 'not-committed');
  }

  #commit(key: string, state: State<Value>): void {
    this.#primary.set(key, state);
    this.#log.push({ key, state });
    this.#options.committed(key, state.value, state.version);
  }

  /** Resolves when a majority has all that was committed by now, and the writer has heard of it. */
  async #replicated(): Promise<void> {
    const { scheduler } = this.#options;
    const last = this.#log.at(-1);
    await scheduler.deliver();
    while (last !== undefined && this.#log.includes(last)) {
      const next = this.#log.shift();
      if (next !== undefined) this.#majority.set(next.key, next.state);
      await scheduler.deliver();
    }
    await scheduler.deliver();
  }

  async #read(keys: readonly string[]): Promise<(StoreRow<Value> | undefined)[]> {
    const { scheduler } = this.#options;
    await scheduler.deliver();
    const rows = keys.map((key) => rowOf(key, this.seenBy('majority', key)));
    await scheduler.deliver();
    return rows;
  }

  async #write(commands: readonly StoreCommand<Value>[]): Promise<StoreOutcome<Value>[]> {
    await this.#options.scheduler.deliver();
    const outcomes = commands.map((command) => this.#apply(command));
    await this.#replicated();
    return outcomes;
  }

  #apply(command: StoreCommand<Value>): StoreOutcome<Value> {
    const { key } = command;
    const { value, version } = this.stateOf(key);
    if (command.kind === 'increment' || command.kind === 'flush') throw new TypeError(command.kind);
    const { ifVersion } = command;
    if (command.kind !== 'put' && value === null) return { kind: 'missing' };
    const matches = ifVersion === undefined || (ifVersion === null ? value === null : ifVersion === version);
    if (!matches) return { kind: 'conflict', version: value === null ? 0 : version };
    const next = command.kind === 'put' ? command.value : command.kind === 'delete' ? null : value;
    const stamped = this.stamp(key, command.above);
    this.#commit(key, { value: next, version: stamped });
    return { kind: 'written', value: next, version: stamped };
  }
}

class MajorityTransaction<Value> implements StoreTransaction {
  readonly client: OwnStatements<Value>;
  readonly #store: SimMajority<Value>;
  readonly #looksAt: 'primary' | 'majority';
  readonly #travel: () => Promise<void>;
  /** Rows as they were when the transaction first touched them. */
  readonly #before = new Map<string, State<Value>>();
  readonly #inside = new Map<string, State<Value>>();

  constructor(store: SimMajority<Value>, looksAt: 'primary' | 'majority', travel: () => Promise<void>) {
    this.#store = store;
    this.#looksAt = looksAt;
    this.#travel = travel;
    this.client = {
      // The row keeps its version: nobody stamps it.
      set: (key, value) => {
        const before = store.stateOf(key);
        this.#before.set(key, before);
        this.#inside.set(key, { value, version: before.value === null ? 0 : before.version });
      },
    };
  }

  /** Whether others have committed what this one has written: the database makes it run again. */
  conflicts(): boolean {
    return [...this.#before].some(([key, state]) => this.#store.stateOf(key) !== state);
  }

  written(): ReadonlyMap<string, State<Value>> {
    return this.#inside;
  }

  async read(keys: readonly string[]): Promise<(StoreRow<Value> | undefined)[]> {
    await this.#travel();
    return keys.map((key) => {
      const here = this.#inside.get(key);
      if (here === undefined) return rowOf(key, this.#store.stateOf(key));
      const there = this.#store.seenBy(this.#looksAt, key);
      // Of another version there: somebody else has committed since, and this is the older row.
      if (here.version !== 0 && there.version !== here.version) return rowOf(key, here);
      const stamped = { value: here.value, version: this.#store.stamp(key, there.version) };
      this.#inside.set(key, stamped);
      return rowOf(key, stamped);
    });
  }

  async changes() {
    return [...this.#inside].map(([key, { version }]) => {
      return { source: 'rows', key, version, op: 'put', changedAtMs: Math.floor(version / 1_000) } as const;
    });
  }
}

function rowOf<Value>(key: string, { value, version }: State<Value>): StoreRow<Value> | undefined {
  return value === null ? undefined : { key, value, version };
}
