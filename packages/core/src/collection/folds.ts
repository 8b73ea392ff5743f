import type { WriteResult } from '../contracts/api.js';
import { NO_VERSION } from '../contracts/version.js';
import { ConflictError, isRefusal, StoreRefusedError } from '../errors.js';
import { backoffMs } from '../kit/backoff.js';
import { callerSleep } from '../kit/wait.js';
import type { EngineContext } from '../runtime/context.js';
import { copyOf } from '../values/copy.js';
import { answerCallers, type Found, isCurrent, type Step, unwritten, write } from './fold-steps.js';
import { type LineCall, Turn, UpdateCall } from './line-calls.js';
import type { Line } from './lines.js';
import { isThenable, runHolding } from './own-key.js';
import type { RowToUpdate } from './row-to-update.js';
import type { CollectionSettings } from './settings.js';

/** Writers that lost against each other at the same time would meet again without jitter. */
const BETWEEN_TRIES = { firstMs: 2, lastMs: 64, jitter: 1 };
/** Functions that travel as one change, at most. */
const MAX_FUNCTIONS = 1_000;
/** How long functions may go on joining one change, in ms: the first of its callers waits for the last. */
const MAX_FOLD_MS = 50;

/** The place of the result of a function that took too long. */
const LATE = Symbol('late');

type UpdateLine<Value> = Line<LineCall<Value>>;

export interface FoldsContext extends Pick<EngineContext, 'clock' | 'random'> {
  readonly settings: Pick<CollectionSettings, 'name' | 'batch' | 'storeTimeoutMs'>;
}

/**
 * Gives the calls of `update` that wait in a line their turns. Their functions run one after the other, each on what the
 * one before it made, and what the last one made is sent as one change of the row that the first one found, at its
 * version. Where nobody can tell what the store would make of a change, the next function waits for its commit.
 *
 * A function's result stands only once the changes before it are committed, so its caller hears nothing until then, not
 * even a failure. If another writer came between, all run again; if the store refuses, each is sent by itself.
 */
export class Folds<Value> {
  readonly #context: FoldsContext;
  /** How many calls have joined lines by now. */
  readonly #joined: () => number;
  /** How long a function may keep others waiting, in ms: those behind it must have their turns in their time, too. */
  readonly #functionMs: number;
  /** Rows as the last round left them. */
  readonly #left = new WeakMap<UpdateLine<Value>, Found<Value>>();

  constructor(context: FoldsContext, joined: () => number) {
    const { batch, storeTimeoutMs } = context.settings;
    this.#context = context;
    this.#joined = joined;
    this.#functionMs = Math.min(storeTimeoutMs, batch.queueTimeoutMs / 2);
  }

  /** Serves a line until no call waits. Does not reject. */
  async serve(line: UpdateLine<Value>): Promise<void> {
    for (let first = line.first; first !== undefined; first = line.first) {
      if (first instanceof Turn) {
        line.take(first);
        this.#left.delete(line);
        if (line.first instanceof Turn) line.first.comesNext();
        await first.run();
        continue;
      }
      const steps: Step<Value>[] = [];
      try {
        await this.#round(line, first, steps);
      } catch (error) {
        // The row could not be read, so no function ran.
        if (steps.length === 0) line.rejectAll(error);
        else this.#failed(line, steps, error);
      }
    }
  }

  async #round(
    line: UpdateLine<Value>,
    { fromCache, lost, row, withoutLock }: UpdateCall<Value>,
    steps: Step<Value>[],
  ): Promise<void> {
    if (lost > 1) await this.#pause(lost - 1);
    const joined = this.#joined();
    const left = this.#left.get(line);
    this.#left.delete(line);
    if (left === undefined && lost > 0 && row.locks && !withoutLock) {
      await this.#underLock(line, row, joined, steps);
      return;
    }
    const found = left ?? (await this.#read(row, lost > 0 || !fromCache, joined));
    const written = await this.#turn(line, row, found, steps);
    if (line.first !== undefined && written !== undefined) {
      const { version } = written;
      this.#left.set(line, { ...found, value: copyOf(written.value), version, fresh: true, joined });
    }
    answerCallers(steps, found, written);
  }

  /** Other processes write the row, too: while this one holds it, they wait for their turns. */
  async #underLock(
    line: UpdateLine<Value>,
    row: RowToUpdate<Value>,
    joined: number,
    steps: Step<Value>[],
  ): Promise<void> {
    let found: Found<Value> | undefined;
    let turn: Promise<WriteResult<Value> | undefined> | undefined;
    let written: WriteResult<Value> | undefined;
    try {
      written = await row.locked(async (held, { value, version }) => {
        // The transaction runs again.
        line.putBack(steps.splice(0).map(({ call }) => call));
        // A row that is not there can't be locked: another writer may insert it.
        const locked = value !== null;
        const current = locked ? Number.POSITIVE_INFINITY : joined;
        found = { value, version, fresh: true, pending: false, locked, joined: current };
        turn = this.#turn(line, held, found, steps);
        return await turn;
      });
    } catch (error) {
      // A transaction that is out of time does not wait for its body, whose function may still run.
      await turn?.catch(() => undefined);
      if (!(error instanceof StoreRefusedError)) throw error;
      // A statement by itself is sent again where a column has changed since it was prepared; in a transaction it can't be.
      line.putBack(steps.splice(0).map(({ call }) => call));
      if (line.first instanceof UpdateCall) line.first.withoutLock = true;
      return;
    }
    if (found !== undefined) answerCallers(steps, found, written);
  }

  /** Reads the row once for all calls that wait. */
  async #read(row: RowToUpdate<Value>, fresh: boolean, joined: number): Promise<Found<Value>> {
    const { value, version, from } = await row.read(fresh);
    const pending = from === 'transaction';
    return { value, version, fresh: from === 'store' || pending, pending, locked: false, joined };
  }

  /** Runs the functions and sends what they made; `undefined`: nothing was to be written. */
  async #turn(
    line: UpdateLine<Value>,
    row: RowToUpdate<Value>,
    found: Found<Value>,
    steps: Step<Value>[],
  ): Promise<WriteResult<Value> | undefined> {
    await this.#run(line, row, found, steps);
    if (steps.length === 0) return undefined;
    const last = steps.findLast(({ kind }) => kind === 'made');
    const written = last && (await write(row, found, last));
    if (written !== undefined || isCurrent(found, steps)) return written;
    // The functions have changed nothing: that counts only if they saw the store's row.
    const joined = this.#joined();
    const { value, version } = await row.read(true);
    this.#left.set(line, { ...found, value, version, fresh: true, joined });
    if (version !== found.version) throw row.conflict(found.version, version);
    return undefined;
  }

  async #run(
    line: UpdateLine<Value>,
    row: RowToUpdate<Value>,
    found: Found<Value>,
    steps: Step<Value>[],
  ): Promise<void> {
    const { clock } = this.#context;
    const untilMs = clock.monotonic() + MAX_FOLD_MS;
    let at: Value | null = found.value;
    let made = false;
    let open = true;
    for (let ran = 0; open && ran < MAX_FUNCTIONS; ran++) {
      const call = line.first;
      if (
        call === undefined ||
        call instanceof Turn ||
        (ran > 0 && (call.alone || clock.monotonic() > untilMs))
      )
        return;
      line.take(call);
      open = !call.alone;
      const version = made ? NO_VERSION : found.version;
      let step = await this.#step(line, call, {
        value: at,
        version,
        hurried: found.locked || steps.length > 0,
      });
      if (step === undefined) continue;
      if (step.kind === 'made' && (made || line.first !== undefined)) {
        let next: Value | undefined;
        try {
          next = await row.foreseen(at, step.row);
        } catch (error) {
          step = { call, kind: 'failed', row: at, error };
        }
        if (step.kind === 'made') {
          if (next === undefined) open = false;
          else step = { call, kind: 'made', row: next };
        }
      }
      at = step.row;
      made ||= step.kind === 'made';
      const current = call.place <= found.joined && (found.fresh || call.fromCache);
      if (made || !current) steps.push(step);
      else if (step.kind === 'failed') call.reject(step.error);
      else call.resolve(unwritten(found));
    }
  }

  /** `undefined`: nobody waits for what the function does any more. */
  async #step(
    line: UpdateLine<Value>,
    call: UpdateCall<Value>,
    { hurried, value, version }: Pick<Found<Value>, 'value' | 'version'> & { readonly hurried: boolean },
  ): Promise<Step<Value> | undefined> {
    const { settings } = this.#context;
    const { key } = line;
    try {
      // The function may write into what it gets, and keep what it returns.
      const given = copyOf(value) ?? undefined;
      const making = runHolding(settings, key, () => call.change(given, version));
      const keepsWaiting = (): boolean => hurried || line.first !== undefined;
      const made = isThenable(making) ? await this.#inTime(call, making, keepsWaiting) : making;
      if (call.over) return undefined;
      if (made === LATE) {
        const message = `collection "${settings.name}", key "${key}": the function did not end within ${this.#functionMs} ms while others waited for the row`;
        call.reject(new ConflictError(message, { collection: settings.name, key }));
        return undefined;
      }
      const next = copyOf(made);
      return next === undefined || (next === null && value === null)
        ? { call, kind: 'skipped', row: value }
        : { call, kind: 'made', row: next };
    } catch (error) {
      return call.over ? undefined : { call, kind: 'failed', row: value, error };
    }
  }

  /** The function's result; `LATE`: it takes too long while others wait, or its caller has given up. */
  async #inTime<T>(
    call: UpdateCall<Value>,
    making: Promise<T>,
    keepsWaiting: () => boolean,
  ): Promise<T | typeof LATE> {
    const { clock } = this.#context;
    const { promise, resolve } = Promise.withResolvers<typeof LATE>();
    let cancel = (): void => undefined;
    const wait = (): void => {
      cancel = clock.schedule(() => (keepsWaiting() ? resolve(LATE) : wait()), this.#functionMs);
    };
    wait();
    call.gaveUp = () => resolve(LATE);
    try {
      return await Promise.race([making, promise]);
    } finally {
      cancel();
    }
  }

  /** Handles a failed write: none of the functions' changes is known to be in the store. */
  #failed(line: UpdateLine<Value>, steps: readonly Step<Value>[], error: unknown): void {
    if (error instanceof ConflictError) {
      for (const { call } of steps) if (++call.lost > call.retries) call.reject(error);
      line.putBack(steps.map(({ call }) => call).filter(({ lost, retries }) => lost <= retries));
      return;
    }
    // A refusal is the fault of some of the functions, not of all.
    if (!isRefusal(error)) {
      for (const { call } of steps) call.reject(error);
      return;
    }
    const makers = steps.filter(({ kind }) => kind === 'made').map(({ call }) => call);
    if (makers.length === 1) makers[0]?.reject(error);
    else for (const { call } of steps) call.alone = true;
    line.putBack(steps.map(({ call }) => call).filter((call) => makers.length > 1 || call !== makers[0]));
  }

  async #pause(attempt: number): Promise<void> {
    const { clock, random } = this.#context;
    await callerSleep(clock, backoffMs(attempt, { ...BETWEEN_TRIES, random }));
  }
}
