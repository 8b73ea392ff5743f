import {
  type Clock,
  StoreBusyError,
  type StoreCommand,
  StoreContractError,
  type StoreOutcome,
  StoreRefusedError,
  type StoreWriteOptions,
} from '@lockstep/core';
import {
  columnOf,
  detailOf,
  isLocked,
  isRefusal,
  isStampedTooEarly,
  stateOf,
  storeError,
} from '../errors.js';
import type { RecordedChange } from '../feed/shared-rows.js';
import type { KeyCodec } from '../keys/codec.js';
import type { TableColumn } from '../sql/catalog.js';
import { SUPERSEDED_STATE } from '../sql/stamp.js';
import { transactionOf } from '../transactions/handle.js';
import { arrayText } from '../wire/arrays.js';
import { type Call, type Described, type Row, statement } from '../wire/pipeline.js';
import type { SendOptions, Session } from '../wire/session.js';
import { callsOf } from './calls.js';
import { readAgain, readRecorded } from './followed.js';
import { findWrittenInstead } from './instead.js';
import { Outcomes } from './outcomes.js';
import { answerOf, type Group, type GroupKind, type Item, isFlush, type Plan, planWrite } from './plan.js';
import type { Shapes } from './shape.js';
import type { Statements } from './statements/statements.js';
import { OUT } from './statements/table-sql.js';
import type { Sums } from './sums.js';
import { versionOf } from './versions.js';

export interface WriterParts {
  readonly name: string;
  /** What statements that stamp their own rows say to the triggers. */
  readonly source: string;
  readonly session: Session;
  readonly statements: Statements;
  readonly codec: KeyCodec;
  readonly shapes: Shapes;
  readonly sums: Sums;
  readonly clock: Clock;
  readonly prepared: boolean;
  readonly described: Described;
  /** Whether a statement failed for columns that are others by now, so that all is to be made anew. */
  readonly altered: (error: unknown, timeoutMs: number) => Promise<boolean>;
  /** Told what a statement has recorded in one row of the outbox. */
  readonly recordedTogether: (changes: readonly RecordedChange[]) => void;
}

interface WriteSend extends SendOptions {
  /** As the table tells it; asked once for a write. */
  readonly altered: (error: unknown) => Promise<boolean>;
  readonly savepoint: boolean;
}

/** Each raises the stamp above a delete of the key that had not been committed before. */
const MAX_RESTAMPS = 8;

/** Statements of one call that may be under way at once, each on a connection of its own. */
const MAX_CONCURRENT = 4;

/** How long a flush waits for a row that others hold, in ms; and once it is known that one of many is held. */
const FLUSH_LOCK_MS = 200;
const FLUSH_LOCK_AGAIN_MS = 20;
const LOCK_TIMEOUT = "SELECT pg_catalog.set_config('lock_timeout', $1, true)";

/** Writes batches: one statement for each kind of command; a refused row fails alone. */
export class Writer<Value> {
  readonly #parts: WriterParts;
  readonly #outcomes: Outcomes<Value>;

  constructor(parts: WriterParts) {
    this.#parts = parts;
    this.#outcomes = new Outcomes(parts.name);
  }

  async write(
    commands: readonly StoreCommand<Value>[],
    options: StoreWriteOptions,
  ): Promise<StoreOutcome<Value>[]> {
    const { altered, described, session, shapes, sums, name, prepared } = this.#parts;
    let asked: Promise<boolean> | undefined;
    const deadline = session.deadline(options.timeoutMs);
    const send: WriteSend = {
      altered: (error) => {
        asked ??= altered(error, deadline.remainingMs);
        return asked;
      },
      // Alone, a refused write aborts the transaction, as it does in plain SQL.
      savepoint: options.tx !== undefined && commands.length > 1,
      deadline,
      signal: options.signal,
      what: name,
      readOnly: false,
      prepared,
      notAfterMs: options.notAfterMs,
      described,
    };
    let plan = this.#plan(commands, options, commands.length === 1);
    await this.#carryOut(plan, send, options);
    // A change as cells that found nothing to change does not say why: as a record it does.
    if (commands.length === 1 && plan.outcomes[0] === undefined) {
      plan = this.#plan(commands, options, false);
      await this.#carryOut(plan, send, options);
    }
    const { outcomes } = plan;
    sums.step(commands, outcomes, shapes);
    if (!outcomes.includes(undefined)) return outcomes as StoreOutcome<Value>[];
    return outcomes.map((outcome, index) => {
      if (outcome !== undefined) return outcome;
      const error = new StoreContractError(`${name}: no answer for a command`, { key: commands[index]?.key });
      return { kind: 'failed', error };
    });
  }

  /** `asCells`: changes, too, travel as parameters where they can. */
  #plan(commands: readonly StoreCommand<Value>[], options: StoreWriteOptions, asCells: boolean): Plan<Value> {
    return planWrite(
      commands,
      this.#parts,
      this.#parts.clock.now(),
      (kind, field) => kind === 'put' || (asCells && this.#mayStamp(kind, true, field, options)),
    );
  }

  #carryOut({ groups, outcomes }: Plan<Value>, send: WriteSend, options: StoreWriteOptions): Promise<void> {
    const [first] = groups;
    return groups.length === 1 && first !== undefined
      ? this.#split(first, send, options, outcomes)
      : this.#all(groups, send, options, outcomes);
  }

  async #all(
    groups: readonly Group[],
    send: WriteSend,
    options: StoreWriteOptions,
    outcomes: (StoreOutcome<Value> | undefined)[],
  ): Promise<void> {
    const queue = [...groups];
    const work = async (): Promise<void> => {
      for (let group = queue.shift(); group !== undefined; group = queue.shift()) {
        await this.#split(group, send, options, outcomes);
      }
    };
    const workers = options.tx === undefined ? Math.min(MAX_CONCURRENT, groups.length) : 1;
    await Promise.all(Array.from({ length: workers }, work));
  }

  /**
   * Runs a group as one statement. When the server refuses it, each half runs on its own, down to the
   * rows that are at fault: at most twice as many statements as rows, normally a few. `restamp`: how often
   * it was sent again, mostly since it was stamped below a concurrent delete, and the version to stay above.
   */
  async #split(
    group: Group,
    send: WriteSend,
    options: StoreWriteOptions,
    outcomes: (StoreOutcome<Value> | undefined)[],
    restamp = { count: 0, above: 0 },
    lockMs = FLUSH_LOCK_MS,
  ): Promise<void> {
    const { items } = group;
    const { clock, codec, statements } = this.#parts;
    const startedAt = clock.monotonic();
    try {
      const own = options.tx === undefined;
      const calls = this.#locked(group, send, options, restamp.above, lockMs);
      const at = answerOf(group, calls);
      const stamps = calls[at]?.statement.stampsRows === true;
      const again = readAgain(group, statements, codec, own);
      const recorded = readRecorded(group, statements, own, stamps);
      calls.push(...again, ...recorded);
      const results = await this.#send(calls, group, send, options);
      const last = calls.length - 1;
      const rows = results[at] ?? [];
      this.#outcomes.noteRows(group, rows, outcomes);
      if (rows.length < items.length && group.kind === 'put') {
        const read = (some: readonly Item[], reads: readonly Call[]): Promise<Row[][]> =>
          this.#send(reads, { ...group, items: some }, send, options);
        const elapsedUs = (): number => (clock.monotonic() - startedAt) * 1_000;
        await findWrittenInstead(items, outcomes, statements, codec, read, elapsedUs);
      }
      if (again.length > 0)
        this.#outcomes.noteCommitted(group, results[last - recorded.length] ?? [], outcomes);
      const { declares } = statements;
      if (stamps && declares)
        this.#outcomes.noteReturned(group, rows, recorded.length > 0 ? results[last] : undefined, outcomes);
      else if (recorded.length > 0) this.#outcomes.noteTexts(group, results[last] ?? [], outcomes);
      if (stamps && items.length > 1 && !declares) {
        this.#parts.recordedTogether(rows.map(recordedOf));
      }
      if (group.kind === 'flushDelete' && options.tx === undefined)
        await this.#sweep(group, rows, send, options);
    } catch (error) {
      if (send.signal?.aborted && error === send.signal.reason) throw error;
      if (options.tx === undefined && isStampedTooEarly(error) && restamp.count < MAX_RESTAMPS) {
        const again = { count: restamp.count + 1, above: Number(detailOf(error)) };
        return await this.#split(group, send, options, outcomes, again, lockMs);
      }
      // Whoever inserts the same row at the same time has its unique values, too: the second time the row is there.
      if (
        items.length === 1 &&
        restamp.count === 0 &&
        options.tx === undefined &&
        mayHaveMetItself(group, error)
      ) {
        const again = { ...restamp, count: 1 };
        return await this.#split(group, send, options, outcomes, again, lockMs);
      }
      // Made anew, none of them may fail.
      const remade = items.length > 1 && options.tx === undefined && (await send.altered(error));
      if (!remade && items.length > 1 && (isRefusal(error) || isLocked(error))) {
        const middle = items.length >> 1;
        for (const half of [items.slice(0, middle), items.slice(middle)]) {
          const waitMs = isLocked(error) ? FLUSH_LOCK_AGAIN_MS : lockMs;
          const again = { count: 1, above: 0 };
          await this.#split({ ...group, items: half }, send, options, outcomes, again, waitMs);
        }
        return;
      }
      for (const item of items) outcomes[item.index] = this.#failure(item, error);
    }
  }

  /** True when the statement may stamp and record its rows by itself. Only the trigger checks deadlines. */
  #mayStamp(
    kind: GroupKind,
    alone: boolean,
    field: TableColumn | undefined,
    { notAfterMs, tx }: StoreWriteOptions,
  ): boolean {
    return (
      tx === undefined && notAfterMs === undefined && this.#parts.statements.mayStamp(kind, alone, field)
    );
  }

  #failure(item: Item, error: unknown): StoreOutcome<Value> {
    if (stateOf(error) === SUPERSEDED_STATE) {
      return { kind: 'superseded', version: Number(detailOf(error)) };
    }
    const what = `${this.#parts.name} ${item.key}`;
    if (isLocked(error)) {
      const busy = new StoreBusyError(`${what}: others hold the row`, { key: item.key, cause: error });
      return { kind: 'failed', error: busy };
    }
    const column = stateOf(error) === '23502' ? columnOf(error) : undefined;
    if (this.#parts.statements.isGeneratedKey(column)) {
      const message = `${what}: there is no such row, and "${column}" is GENERATED ALWAYS: only the database makes new ones (SQLSTATE 428C9)`;
      const refused = new StoreRefusedError(message, { key: item.key, cause: error });
      return { kind: 'failed', error: refused };
    }
    return { kind: 'failed', error: storeError(error, what, true) };
  }

  /** The answers of the calls, in one round trip. */
  #send(
    calls: readonly Call[],
    { items, kind }: Group,
    send: WriteSend,
    { tx }: StoreWriteOptions,
  ): Promise<Row[][]> {
    const { session, source, statements } = this.#parts;
    if (tx === undefined) {
      const stamps = calls.some(({ statement: { stampsRows } }) => stampsRows);
      const looksUp = kind !== 'put' || !stamps || statements.declares;
      const byKey = statements.firesNothing && looksUp;
      // Most of a batch's answer is sent before the commit anyway.
      const decodesAhead = items.length === 1;
      return session.send(calls, { ...send, byKey, stamps: stamps ? source : '', decodesAhead });
    }
    return session[send.savepoint ? 'sendGuarded' : 'sendIn'](transactionOf(tx), calls, send);
  }

  /** The group's calls, behind the locks that they take. */
  #locked(
    group: Group,
    { prepared }: WriteSend,
    options: StoreWriteOptions,
    above: number,
    lockMs: number,
  ): Call[] {
    const { notAfterMs, tx } = options;
    const mayStamp = this.#mayStamp(group.kind, group.items.length === 1, group.field, options);
    const calls = callsOf(group, this.#parts.statements, mayStamp, above);
    if (tx !== undefined) return calls;
    if (notAfterMs !== undefined) calls.unshift(this.#known(group));
    if (isFlush(group)) {
      calls.unshift({ statement: statement(LOCK_TIMEOUT, prepared), values: [String(lockMs)] });
    }
    return calls;
  }

  /** Readers whose intents in the cache ran out can wait for the statement: a key without a row has no lock of its own. */
  #known({ items }: Group): Call {
    const keys = arrayText(items.map((item) => item.key));
    return { statement: this.#parts.statements.lockShared(), values: [keys] };
  }

  /**
   * A delete that found no row can have missed one that was just being inserted. Its tombstone is
   * committed now, so whatever older row is there goes.
   */
  async #sweep(
    group: Group,
    rows: readonly Row[],
    send: WriteSend,
    options: StoreWriteOptions,
  ): Promise<void> {
    const buried = new Set(
      rows.filter((row) => row.meta[OUT.key] === true).map((row) => Number(row.meta[OUT.number])),
    );
    const items = group.items.filter((item) => buried.has(item.index));
    if (items.length === 0) return;
    const again = { ...group, items };
    await this.#send(this.#locked(again, send, options, 0, FLUSH_LOCK_MS), again, send, options);
  }
}

/** A duplicate that an insert of the very row may have been: `ON CONFLICT` looks at the key alone. */
function mayHaveMetItself({ kind }: Group, error: unknown): boolean {
  const inserts = kind === 'put' || kind === 'insert' || kind === 'create';
  return inserts && stateOf(error) === '23505';
}

function recordedOf(row: Row): RecordedChange {
  return { key: String(row.meta[OUT.key]), version: versionOf(row.meta[OUT.version]) };
}
