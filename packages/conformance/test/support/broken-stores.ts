import { randomUUID } from 'node:crypto';
import type {
  Change,
  ChangeFeed,
  StoreAdapter,
  StoreCallOptions,
  StoreCommand,
  StoreFence,
  StoreOutcome,
  StoreTransaction,
  TransactionHost,
  Version,
} from '@lockstep/core';
import { StoreRefusedError } from '@lockstep/core';
import { type MemoryStore, memoryDatabase, memoryStore } from '@lockstep/core/memory';
import type { StoreUnderTest } from '../../src/index.js';

export interface Product {
  readonly name: string;
  readonly stock: number;
}

type Store = StoreAdapter<Product, string>;
type Command = StoreCommand<Product>;
type Outcomes = readonly StoreOutcome<Product>[];

export interface BrokenStore {
  readonly flaw: string;
  readonly noticedBy: readonly string[];
  readonly create: () => StoreUnderTest<Product, string>;
}

function validate({ stock }: Product): void {
  if (stock < 0) throw new Error('stock must not be negative');
}

/** The memory store for one case, with a part replaced. */
export function underTest(
  change: (inner: MemoryStore<Product>) => Partial<Store> = () => ({}),
  hooks: (inner: MemoryStore<Product>) => Partial<StoreUnderTest<Product, string>> = () => ({}),
): StoreUnderTest<Product, string> {
  const inner = memoryStore<Product>({
    name: 'products',
    database: memoryDatabase({ feedGraceMs: 0 }),
    validate,
    newRow: (value) => ({ id: randomUUID(), value }),
  });
  return {
    store: { ...inner, ...change(inner) },
    id: (n) => `p${n}`,
    value: (id, n) => ({ name: `product ${id}`, stock: n }),
    counter: 'stock',
    refusedValue: (id) => ({ name: id, stock: -1 }),
    newValue: (n) => ({ name: `new product ${n}`, stock: n }),
    badIds: ['', 5],
    foreignWrite: (id, value) => inner.foreignWrite(id, value),
    ...hooks(inner),
  };
}

export const HOOKS = ['refusedValue', 'newValue', 'badIds', 'foreignWrite'] as const;

function store(
  flaw: string,
  noticedBy: readonly string[],
  change: (inner: MemoryStore<Product>) => Partial<Store>,
): BrokenStore {
  return { flaw, noticedBy, create: () => underTest(change) };
}

/** Sends other commands than it was given. */
function sending(
  flaw: string,
  noticedBy: readonly string[],
  change: (command: Command, inner: MemoryStore<Product>) => Command | Promise<Command>,
): BrokenStore {
  return store(flaw, noticedBy, (inner) => ({
    async write(commands, options) {
      return await inner.write(await Promise.all(commands.map((command) => change(command, inner))), options);
    },
  }));
}

/** The only delete of several commands; none where there are more, or nothing else. */
function deletesAmongOthers(commands: readonly Command[]): readonly Command[] {
  const deletes = commands.filter(({ kind }) => kind === 'delete');
  return deletes.length === 1 && commands.length > 1 ? deletes : [];
}

function without<T extends object, K extends string>(value: T, name: K): Omit<T, K> {
  const { [name]: _, ...rest } = value as T & Record<K, unknown>;
  return rest;
}

/** Shows other versions than the rows have. */
function showing(
  flaw: string,
  noticedBy: readonly string[],
  shown: () => (key: string, version: Version, command?: Command) => Version,
): BrokenStore {
  return store(flaw, noticedBy, (inner) => {
    const change = shown();
    return {
      async write(commands, options) {
        const outcomes = await inner.write(commands, options);
        return outcomes.map((outcome, at) => {
          const command = commands[at];
          if (outcome.kind !== 'written' || command === undefined) return outcome;
          return { ...outcome, version: change(command.key, outcome.version, command) };
        });
      },
      async read(keys, options) {
        const rows = await inner.read(keys, options);
        return rows.map((row) => row && { ...row, version: change(row.key, row.version) });
      },
    };
  });
}

function fenceOf(
  flaw: string,
  noticedBy: readonly string[],
  change: (fence: StoreFence, inner: MemoryStore<Product>) => Partial<StoreFence> | undefined,
): BrokenStore {
  return store(flaw, noticedBy, (inner) => {
    const { fence } = inner;
    if (fence === undefined) throw new Error('the memory store has a fence');
    const changed = change(fence, inner);
    return { fence: changed && { ...fence, ...changed } };
  });
}

function feedOf(
  flaw: string,
  noticedBy: readonly string[],
  change: (feed: ChangeFeed, inner: MemoryStore<Product>) => Partial<ChangeFeed>,
): BrokenStore {
  return store(flaw, noticedBy, (inner) => ({ feed: { ...inner.feed, ...change(inner.feed, inner) } }));
}

function hostOf(
  flaw: string,
  noticedBy: readonly string[],
  change: (
    host: TransactionHost,
    body: (tx: StoreTransaction) => Promise<unknown>,
    options: StoreCallOptions,
  ) => Promise<unknown>,
): BrokenStore {
  return store(flaw, noticedBy, (inner) => ({
    transactions: {
      transaction: <T>(body: (tx: StoreTransaction) => Promise<T>, options: StoreCallOptions) =>
        change(inner.transactions, body, options) as Promise<T>,
    },
  }));
}

/** Each write gets its number when it is asked for, and becomes the row when it gets there. */
const stampedTooEarly = store(
  'a version is stamped before the row is locked',
  ['race: of writers on one row'],
  (inner) => {
    let last = 1_000_000_000_000_000;
    const shown = new Map<string, Version>();
    return {
      async write(commands, options) {
        last += 2;
        const version = last;
        for (let turns = 5 - ((last / 2) % 5); turns > 0; turns -= 1) await new Promise(setImmediate);
        const outcomes = await inner.write(commands, options);
        return outcomes.map((outcome, at) => {
          const command = commands[at];
          if (outcome.kind !== 'written' || command === undefined) return outcome;
          shown.set(command.key, version);
          return { ...outcome, version };
        });
      },
      async read(keys, options) {
        const rows = await inner.read(keys, options);
        return rows.map((row) => row && { ...row, version: shown.get(row.key) ?? row.version });
      },
    };
  },
);

/** What a transaction writes is not ordered behind what others committed while it was open. */
const stampedAtItsBeginning = store(
  'a transaction stamps what it writes as of its beginning',
  ['transaction: a row that it puts after another writer has deleted it'],
  (inner) => {
    const begun = new WeakMap<StoreTransaction, Version>();
    const shown = new Map<string, Version>();
    return {
      transactions: {
        transaction: (body, options) => {
          const version = Date.now() * 1000;
          return inner.transactions.transaction((tx) => {
            begun.set(tx, version);
            return body(tx);
          }, options);
        },
      },
      async write(commands, options) {
        const outcomes = await inner.write(commands, options);
        const version = options.tx && begun.get(options.tx);
        return outcomes.map((outcome, at) => {
          const { key = '' } = commands[at] ?? {};
          if (outcome.kind !== 'written' || version === undefined) {
            shown.delete(key);
            return outcome;
          }
          shown.set(key, version);
          return { ...outcome, version };
        });
      },
      async read(keys, options) {
        const rows = await inner.read(keys, options);
        return rows.map((row) => row && { ...row, version: shown.get(row.key) ?? row.version });
      },
    };
  },
);

async function lostUpdate(
  commands: readonly Command[],
  options: StoreCallOptions,
  inner: Store,
): Promise<Outcomes> {
  const changed = commands.map(async (command): Promise<Command> => {
    if (command.kind !== 'increment') return command;
    const [row] = await inner.read([command.key], { ...options, primary: true });
    await new Promise(setImmediate);
    if (row === undefined) return command;
    const value = { ...row.value, stock: row.value.stock + Number(command.by) };
    return { kind: 'put', key: command.key, value, above: command.above };
  });
  return await inner.write(await Promise.all(changed), options);
}

export const BROKEN_STORES: readonly BrokenStore[] = [
  store('new rows of one call share a key', ['create: each row has a key'], (inner) => ({
    newRows: (values) => values.map((value) => ({ key: `k${values.length}`, value })),
    write: (commands, options) => inner.write(commands, options),
  })),
  store('a drawn key is drawn again', ['create: a key that is drawn'], () => ({
    newRows: (values) => values.map((value, n) => ({ key: `k${n}`, value })),
  })),
  sending('a drawn row takes the place of another', ['create: where the key has a row'], (command) =>
    command.kind === 'put' && command.drawn === true ? without(command, 'ifVersion') : command,
  ),
  store('new rows are written when their keys are drawn', ['create: a key that is drawn'], (inner) => ({
    async newRows(values, options) {
      const rows = values.map((value) => ({ key: randomUUID(), value }));
      const puts = rows.map(({ key, value }) => ({ kind: 'put', key, value, above: 0 }) as const);
      await inner.write(puts, options);
      return rows;
    },
  })),
  ...(['put', 'delete'] as const).map((kind) =>
    sending(
      `a ${kind} is not stamped ahead of the clock`,
      ['version: a put and a delete are stamped ahead'],
      (command) => {
        if (command.kind === 'put' && kind === 'put') return without(command, 'aheadMs');
        return command.kind === 'delete' && kind === 'delete' ? without(command, 'aheadMs') : command;
      },
    ),
  ),
  sending(
    'a compare-and-set is not stamped ahead of the clock',
    ['version: a put and a delete are stamped ahead'],
    (command) =>
      command.kind === 'put' && command.ifVersion !== undefined ? without(command, 'aheadMs') : command,
  ),
  sending(
    'a write ahead of the clock forgets its bound',
    ['version: a put and a delete are stamped ahead'],
    (command) => ('aheadMs' in command ? { ...command, above: 0 } : command),
  ),
  store('one write ahead of the clock takes its batch along', ['version: a put and a delete'], (inner) => ({
    write(commands, options) {
      const aheadMs = Math.max(
        0,
        ...commands.map((command) => ('aheadMs' in command ? (command.aheadMs ?? 0) : 0)),
      );
      const all = commands.map((command) => (command.kind === 'put' ? { ...command, aheadMs } : command));
      return inner.write(all, options);
    },
  })),
  showing('the version goes down after a deletion', ['version: every write has an even version'], () => {
    const deletions = new Map<string, number>();
    return (key, version, command) => {
      const before = deletions.get(key) ?? 0;
      if (command?.kind === 'delete') deletions.set(key, before + 1);
      return version - before * 1_000_000_000_000;
    };
  }),
  showing(
    'versions are odd',
    ['version: every write has an even version'],
    () => (_, version) => version + 1,
  ),
  showing(
    'versions are those of the second',
    ['version: every write has an even version', 'race: of writers'],
    () => {
      return (_, version) => Math.floor(version / 1_000_000_000_000) * 1_000_000_000_000;
    },
  ),
  stampedTooEarly,
  stampedAtItsBeginning,
  sending(
    'the writer’s bound is ignored',
    ['version: an insert, an update', 'version: in one batch'],
    (command) => ('above' in command ? { ...command, above: 0 } : command),
  ),
  store('one bound serves a whole batch', ['version: in one batch'], (inner) => ({
    write(commands, options) {
      const above = Math.max(0, ...commands.map((command) => ('above' in command ? command.above : 0)));
      return inner.write(
        commands.map((command) => ('above' in command ? { ...command, above } : command)),
        options,
      );
    },
  })),
  sending(
    'a version that does not match is written all the same',
    ['compare-and-set: any other version', 'race: of many compare-and-sets', 'restamp: a row that changed'],
    async (command, inner) => {
      if (command.kind !== 'restamp') return without(command, 'ifVersion') as Command;
      const [row] = await inner.read([command.key], { timeoutMs: 1_000, primary: true });
      return { ...command, ifVersion: row?.version ?? command.ifVersion };
    },
  ),
  sending('null as a version means any', ['compare-and-set: any other version'], (command) =>
    command.kind === 'put' && command.ifVersion === null
      ? (without(command, 'ifVersion') as Command)
      : command,
  ),
  store('a refused row takes its batch along', ['batch: a row that the store refuses'], (inner) => ({
    async write(commands, options) {
      const outcomes = await inner.write(commands, options);
      const refused = outcomes.find(({ kind }) => kind === 'failed');
      if (refused?.kind === 'failed') throw refused.error;
      return outcomes;
    },
  })),
  store('outcomes come in the order of keys', ['batch: puts and deletes of one call'], (inner) => ({
    async write(commands, options) {
      const sorted = commands
        .map((command, at) => ({ key: command.key, at }))
        .sort((a, b) => (a.key < b.key ? 1 : -1));
      const outcomes = await inner.write(commands, options);
      return sorted.map(({ at }) => outcomes[at] as StoreOutcome<Product>);
    },
  })),
  store('missing rows are left out of a read', ['read: rows position by position'], (inner) => ({
    read: async (keys, options) => (await inner.read(keys, options)).filter((row) => row !== undefined),
  })),
  store('increments are read, added and put', ['increment: many at once'], (inner) => ({
    write: (commands, options) => lostUpdate(commands, options, inner),
  })),
  store(
    'what a field held on the way is not told',
    ['increment: a sum tells what the field held'],
    (inner) => ({
      write: async (commands, options) =>
        (await inner.write(commands, options)).map((outcome) =>
          outcome.kind === 'written' ? { ...outcome, steps: [] } : outcome,
        ),
    }),
  ),
  sending('an increment sets', ['increment: adds to the field'], (command, inner) =>
    command.kind === 'increment' && inner.keys().includes(command.key)
      ? {
          kind: 'put',
          key: command.key,
          value: { name: '', stock: Number(command.by) },
          above: command.above,
        }
      : command,
  ),
  sending('a restamp does nothing', ['restamp: gives an unchanged row'], (command) =>
    command.kind === 'restamp' ? { ...command, above: 0 } : command,
  ),
  sending(
    'a flush is a blind put',
    ['flush: repeated, late and lower', 'flush: writes a new row'],
    (command) => {
      if (command.kind !== 'flush') return command;
      return command.value === null
        ? { kind: 'delete', key: command.key, above: command.version }
        : { kind: 'put', key: command.key, value: command.value, above: command.version };
    },
  ),
  sending(
    'a flush does not see the tombstone',
    ['flush: a tombstone refuses', 'flush: a buffered deletion'],
    (command, inner) =>
      command.kind === 'flush' && command.value !== null && !inner.keys().includes(command.key)
        ? { kind: 'put', key: command.key, value: command.value, above: 0 }
        : command,
  ),
  store(
    'a repeated flush is told a version of nobody',
    ['flush: repeated', 'batch: a repeated'],
    (inner) => ({
      async write(commands, options) {
        const outcomes = await inner.write(commands, options);
        return outcomes.map((outcome) =>
          outcome.kind === 'superseded' ? { ...outcome, version: outcome.version + 1 } : outcome,
        );
      },
    }),
  ),
  store('a refused flush counts as superseded', ['batch: a flush that the store refuses'], (inner) => ({
    async write(commands, options) {
      const outcomes = await inner.write(commands, options);
      return outcomes.map((outcome, at) => {
        const command = commands[at];
        return outcome.kind === 'failed' && command?.kind === 'flush'
          ? { kind: 'superseded', version: command.version }
          : outcome;
      });
    },
  })),
  store('a refused flush leaves a tombstone', ['batch: a flush that the store refuses'], (inner) => ({
    async write(commands, options) {
      const outcomes = await inner.write(commands, options);
      for (const [at, command] of commands.entries()) {
        if (command.kind !== 'flush' || outcomes[at]?.kind !== 'failed') continue;
        await inner.write([{ ...command, value: null }], options);
      }
      return outcomes;
    },
  })),
  store('a refused flush takes the other flushes along', ['batch: a flush that the store'], (inner) => ({
    async write(commands, options) {
      const bad = commands.some(
        (command) => command.kind === 'flush' && command.value !== null && command.value.stock < 0,
      );
      const error = new StoreRefusedError('the batch was refused');
      if (!bad) return await inner.write(commands, options);
      const others = commands.filter(({ kind }) => kind !== 'flush');
      const outcomes = [...(await inner.write(others, options))];
      return commands.map(({ kind }) =>
        kind === 'flush' ? { kind: 'failed', error } : (outcomes.shift() as StoreOutcome<Product>),
      );
    },
  })),
  store('beside others a flush is a put', ['batch: flushes travel beside puts'], (inner) => ({
    write(commands, options) {
      const mixed = commands.some(({ kind }) => kind !== 'flush');
      return inner.write(
        commands.map((command) =>
          mixed && command.kind === 'flush' && command.value !== null
            ? { kind: 'put', key: command.key, value: command.value, above: 0 }
            : command,
        ),
        options,
      );
    },
  })),
  store('of many flushes the last ones are lost', ['batch: 256 flushes'], (inner) => ({
    async write(commands, options) {
      if (commands.length <= 250 || commands[0]?.kind !== 'flush')
        return await inner.write(commands, options);
      const done = await inner.write(commands.slice(0, 250), options);
      const lost = commands.slice(250).map(
        (command): StoreOutcome<Product> => ({
          kind: 'written',
          value: command.kind === 'flush' ? command.value : null,
          version: command.kind === 'flush' ? command.version : 0,
        }),
      );
      return [...done, ...lost];
    },
  })),
  sending(
    'a flush of a row that is not there is an insert',
    ['race: flushes of a row that is not there', 'flush: writes a new row'],
    (command, inner) =>
      command.kind === 'flush' && command.value !== null && !inner.keys().includes(command.key)
        ? { kind: 'put', key: command.key, value: command.value, above: 0, ifVersion: null }
        : command,
  ),
  store('the time-out is ignored', ['time-out: a write that waits'], (inner) => ({
    write: (commands, options) => inner.write(commands, { ...options, timeoutMs: 60_000 }),
  })),
  store('a write that timed out is committed later', ['time-out: a write that waits'], (inner) => ({
    async write(commands, options) {
      const late = inner.write(commands, { ...options, timeoutMs: 60_000 });
      const error = new Error('timed out');
      const timeout = new Promise<never>((_, reject) =>
        setTimeout(() => reject(error), options.timeoutMs).unref(),
      );
      return await Promise.race([late, timeout]);
    },
  })),
  store('an aborted call is written', ['abort:'], (inner) => ({
    write: (commands, options) => inner.write(commands, without(options, 'signal')),
  })),
  hostOf(
    'a rollback keeps what was written',
    ['transaction: a throw rolls everything back'],
    async (host, body, options) => {
      let thrown: unknown;
      const result = await host.transaction(async (tx) => {
        try {
          return await body(tx);
        } catch (error) {
          thrown = error;
          return undefined;
        }
      }, options);
      if (thrown !== undefined) throw thrown;
      return result;
    },
  ),
  hostOf(
    'a rollback wraps its reason',
    ['transaction: a throw rolls everything back'],
    (host, body, options) =>
      host.transaction(body, options).catch((cause: unknown) => {
        throw new Error('rolled back', { cause });
      }),
  ),
  store(
    'writes in a transaction are committed at once',
    ['transaction: what it wrote', 'feed: a transaction’s'],
    (inner) => ({
      write: (commands, options) => inner.write(commands, without(options, 'tx')),
    }),
  ),
  store('reads in a transaction do not see it', ['transaction: reads in it'], (inner) => ({
    read: (keys, options) => inner.read(keys, without(options, 'tx')),
  })),
  store(
    'a call with a transaction that is over runs on its own',
    ['transaction: one that is over'],
    (inner) => ({
      async write(commands, options) {
        const outcomes = await inner.write(commands, options);
        const over = outcomes.some(
          (outcome) => outcome.kind === 'failed' && outcome.error.code === 'LOCKSTEP_TRANSACTION_OVER',
        );
        return over ? await inner.write(commands, without(options, 'tx')) : outcomes;
      },
    }),
  ),
  store(
    'a transaction that failed answers reads',
    ['transaction: a refusal that the body goes on from'],
    (inner) => ({
      read: (keys, options) =>
        inner.read(keys, options).catch(() => inner.read(keys, without(options, 'tx'))),
    }),
  ),
  hostOf('a sealed transaction takes calls', ['transaction: sealed'], (host, body, options) =>
    host.transaction((tx) => {
      Object.defineProperty(tx, 'seal', { value: () => undefined });
      return body(tx);
    }, options),
  ),
  hostOf('a transaction does not know what it changed', ['transaction: changes()'], (host, body, options) =>
    host.transaction((tx) => {
      const changes = async (): Promise<readonly Change[]> => [];
      return body(Object.create(tx, { changes: { value: changes } }) as StoreTransaction);
    }, options),
  ),
  hostOf(
    'the body runs once, deadlock or not',
    ['transaction: of two that wait for each other'],
    (host, body, options) => {
      let ran = false;
      return host.transaction(async (tx) => {
        if (ran) throw new Error('deadlock');
        ran = true;
        return await body(tx);
      }, options);
    },
  ),
  feedOf(
    'a batch that its handler rejects is dropped',
    ['feed: a batch that its handler rejects', 'feed: what a consumer never took'],
    (feed) => ({
      consume: (handler, options) =>
        feed.consume(
          (changes) => handler(changes).catch((error: unknown) => options.onError?.(error)),
          options,
        ),
    }),
  ),
  feedOf('rejections are not told', ['feed: a batch that its handler rejects'], (feed) => ({
    consume: (handler, options) => feed.consume(handler, without(options, 'onError')),
  })),
  feedOf('the first rejection ends the feed', ['feed: a batch that its handler rejects'], (feed) => ({
    async consume(handler, options) {
      const own = new AbortController();
      const signal = AbortSignal.any([own.signal, options.signal]);
      await feed.consume(
        (changes) =>
          handler(changes).catch((error: unknown) => {
            own.abort();
            throw error;
          }),
        { ...options, signal },
      );
    },
  })),
  feedOf('what was changed before a consumer came is lost', ['feed: changes made while nobody'], (feed) => ({
    async consume(handler, options) {
      const startedMs = Date.now();
      await new Promise((resolve) => setTimeout(resolve, 5));
      await feed.consume(async (changes) => {
        const news = changes.filter(({ changedAtMs }) => changedAtMs > startedMs);
        if (news.length > 0) await handler(news);
      }, options);
    },
  })),
  feedOf('deletes are not told', ['feed: inserts, updates and deletes'], (feed) => ({
    consume: (handler, options) =>
      feed.consume(async (changes) => {
        const puts = changes.filter(({ op }) => op === 'put');
        if (puts.length > 0) await handler(puts);
      }, options),
  })),
  feedOf('the batch size is ignored', ['feed: a handler is given at most'], (feed) => ({
    consume: (handler, options) => feed.consume(handler, without(options, 'batchSize')),
  })),
  feedOf('sources are ignored', ['feed: only the sources'], (feed) => ({
    consume: (handler, options) => feed.consume(handler, { ...options, sources: ['products'] }),
  })),
  feedOf('consume does not wait for the handler under way', ['feed: consume() ends'], (feed) => ({
    consume: (handler, options) =>
      Promise.race([
        feed.consume(handler, options),
        new Promise<void>((resolve) => options.signal.addEventListener('abort', () => resolve())),
      ]),
  })),
  feedOf('consume never ends', ['feed: inserts, updates', 'feed: consume() ends'], (feed) => ({
    consume: (handler, options) =>
      feed.consume(handler, { ...options, signal: new AbortController().signal }),
  })),
  feedOf(
    'an acknowledgement hides what is newer',
    ['feed: acknowledging a version', 'feed: acknowledging a writer'],
    (feed) => {
      const hidden = new Set<string>();
      return {
        acknowledge(changes) {
          for (const { key } of changes) hidden.add(key);
        },
        consume: (handler, options) =>
          feed.consume((changes) => handler(changes.filter(({ key }) => !hidden.has(key))), options),
      };
    },
  ),
  feedOf('status is always empty', ['feed: status counts'], () => ({
    status: async () => ({ pending: 0, oldestMs: 0 }),
  })),
  feedOf('status never comes down', ['feed: status counts'], () => ({
    status: async () => ({ pending: 1, oldestMs: 1 }),
  })),
  feedOf('a replay hands over nothing', ['feed: replay hands over'], () => ({ replay: async () => {} })),
  feedOf('a replay goes past a rejection', ['feed: replay hands over'], (feed) => ({
    replay: (since, handler, options) =>
      feed.replay(since, (changes) => handler(changes).catch(() => {}), options),
  })),
  store(
    'a delete that comes alone among other kinds is not recorded',
    ['feed: each command that comes alone among'],
    (inner) => {
      const unrecorded = new Set<string>();
      const feed = inner.feed as ChangeFeed;
      return {
        write(commands, options) {
          for (const { key } of deletesAmongOthers(commands)) unrecorded.add(key);
          return inner.write(commands, options);
        },
        feed: {
          ...feed,
          consume: (handler, options) =>
            feed.consume((changes) => handler(changes.filter(({ key }) => !unrecorded.has(key))), options),
        },
      };
    },
  ),
  store(
    'a delete that comes alone among other kinds is not remembered',
    ['feed: each command that comes alone among'],
    (inner) => {
      const forgotten = new Set<string>();
      return {
        write(commands, options) {
          for (const { key } of deletesAmongOthers(commands)) forgotten.add(key);
          const sent = commands.map((command): Command => {
            if (command.kind !== 'flush' || command.value === null || !forgotten.has(command.key))
              return command;
            return { kind: 'put', key: command.key, value: command.value, above: 0 };
          });
          return inner.write(sent, options);
        },
      };
    },
  ),
  {
    flaw: 'foreign writes go unseen',
    noticedBy: ['feed: a row that another program wrote', 'feed: acknowledging a writer'],
    create() {
      const foreign = new Set<string>();
      return underTest(
        ({ feed }) => ({
          feed: {
            ...feed,
            consume: (handler, options) =>
              feed.consume((changes) => handler(changes.filter(({ key }) => !foreign.has(key))), options),
          },
        }),
        (inner) => ({
          async foreignWrite(id, value) {
            foreign.add(id);
            await inner.foreignWrite(id, value);
          },
        }),
      );
    },
  },
  store('two ids share a key', ['keyOf: an id has one key'], (inner) => ({
    keyOf: (id) => inner.keyOf(id).slice(0, -1),
  })),
  store('nothing can be held', ['check: passes what a put takes'], () => ({
    check() {
      throw new StoreRefusedError('never');
    },
  })),
  store('anything is an id', ['keyOf: throws InvalidIdError'], () => ({ keyOf: (id) => String(id) })),
  store('close does nothing', ['close: may be called twice'], () => ({ close: async () => {} })),
  store('deadlines are not looked at', ['fence: a write after its deadline is refused'], (inner) => ({
    write: (commands, options) => inner.write(commands, without(options, 'notAfterMs')),
  })),
  store(
    'deadlines are looked at before the row is locked',
    ['fence: a write that waited for its row', 'fence: and so is one that waited'],
    (inner) => ({
      write(commands, options) {
        const { notAfterMs = Number.POSITIVE_INFINITY } = options;
        return inner.write(commands, Date.now() > notAfterMs ? options : without(options, 'notAfterMs'));
      },
    }),
  ),
  store(
    'of many commands the deadline counts for the first',
    ['fence: a write after its deadline is refused'],
    (inner) => ({
      async write(commands, options) {
        const first = await inner.write(commands.slice(0, 1), options);
        const others = commands.slice(1);
        if (others.length === 0) return first;
        return [...first, ...(await inner.write(others, without(options, 'notAfterMs')))];
      },
    }),
  ),
  store('any deadline is over', ['fence: a write in time'], (inner) => ({
    write: (commands, options) =>
      inner.write(commands, 'notAfterMs' in options ? { ...options, notAfterMs: 0 } : options),
  })),
  ...(
    [
      ['the clock that deadlines count from is ahead', 60_000],
      ['the clock that deadlines count from is far behind', -3_600_000],
    ] as const
  ).map(([flaw, aheadMs]) =>
    fenceOf(flaw, ['fence: its clock is never ahead'], () => ({ nowMs: () => Date.now() + aheadMs })),
  ),
  fenceOf(
    'settle waits for nobody',
    [
      'fence: settle of a row waits',
      'fence: settle of a key without a row',
      'fence: settle waits for a write',
    ],
    () => ({ settle: async () => true }),
  ),
  fenceOf('settle never comes true', ['fence: settle is true at once', 'fence: settle of a row'], () => ({
    settle: async () => false,
  })),
  fenceOf('settle waits for all keys', ['fence: settle of a row'], (fence) => {
    const entered: string[] = [];
    return {
      enter: (keys, options) => fence.enter([...keys, ...entered.splice(0, 0, ...keys)], options),
      settle: async (key, options) =>
        (await Promise.all([key, ...entered].map((each) => fence.settle(each, options)))).every(Boolean),
    };
  }),
  fenceOf('nobody enters', ['fence: settle of a key without a row'], (fence, inner) => ({
    enter: async () => undefined,
    // As locks on rows alone would have it.
    settle: async (key, options) => inner.keys().includes(key) && (await fence.settle(key, options)),
  })),
  fenceOf('a fence is not there', ['claims:'], () => undefined),
  store('a capability is not claimed', ['claims:'], (inner) => ({
    capabilities: { ...inner.capabilities, restamp: false },
  })),
  store('a feed is claimed that is not there', ['claims:'], () => ({ feed: undefined })),
];
