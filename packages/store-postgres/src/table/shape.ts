import { type Clock, type RowShape, StoreRefusedError, type StoreShape } from '@lockstep/core';
import { isStalePlan, stateOf } from '../errors.js';
import type { TableColumn, TableInfo } from '../sql/catalog.js';
import { storeDeadline } from '../wire/deadline.js';
import type { FieldDescription } from '../wire/pipeline.js';
import { isAttachedAgain } from '../write/plain.js';
import { UnknownPropertyError } from '../write/shape.js';
import { OUT } from '../write/statements/table-sql.js';

/** A column, or a table of Lockstep's, that is gone; a column that is generated now; a type that is another. */
const ALTERED = new Set(['42703', '42P01', '3F000', '428C9', '42804', '42846', '42883']);
/** A value that does not fit its type: the caller's fault, unless the type is another by now. */
const ILL_FITTING = new Set(['22P02', '22003', '22007', '22008']);
/** How long after a look at the catalogue that was in vain nobody looks again without a certain cause. */
const PAUSE_MS = 1_000;

export interface TableShapeOptions {
  readonly name: string;
  readonly clock: Clock;
  /** Reads the table from the catalogue, and binds it anew where it is another. */
  readonly look: () => Promise<void>;
}

/**
 * What this process knows of a table's columns. DDL does not tell: statements that fail, or answer with other types,
 * have the catalogue read again.
 */
export class TableShape implements StoreShape {
  readonly #options: TableShapeOptions;
  #shape: RowShape | undefined;
  #types: ReadonlyMap<string, number> = new Map();
  /** Descriptions that were compared with the types. */
  #compared = new WeakSet<readonly FieldDescription[]>();
  /** How often an answer was of other types, and how many of these a look has settled. */
  #doubts = 0;
  #settled = 0;
  #looking: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  /** The last look for an uncertain cause that found nothing. */
  #vainAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: TableShapeOptions) {
    this.#options = options;
  }

  know({ columns, order }: TableInfo): void {
    this.#shape = { order, properties: new Map(columns.map(({ property, type }) => [property, type])) };
    this.#types = new Map(columns.map(({ oid, property }) => [property, oid]));
    this.#compared = new WeakSet();
  }

  current(): RowShape | undefined {
    if (this.#doubts === this.#settled) return this.#shape;
    this.lookSoon();
    return undefined;
  }

  /** A look that begins after the call: one under way may have begun before what it is to see. */
  renew(): Promise<void> {
    this.#next ??= (this.#looking ?? Promise.resolve()).then(() => {
      this.#next = undefined;
      this.#looking = this.#look().finally(() => {
        this.#looking = undefined;
      });
      return this.#looking;
    });
    return this.#next;
  }

  async #look(): Promise<void> {
    const doubts = this.#doubts;
    this.#lookedAtMs = this.#options.clock.monotonic();
    try {
      await this.#options.look();
      this.#settled = doubts;
    } catch {
      // A doubt stays, and with it the next look. A failed statement's own error is told.
    }
  }

  /** Looks in the background, not more often than once in a while. */
  lookSoon(): void {
    if (this.#options.clock.monotonic() - this.#lookedAtMs >= PAUSE_MS) void this.renew();
  }

  /** Told what each answer's columns are. */
  readonly described = (fields: readonly FieldDescription[]): void => {
    if (this.#compared.has(fields)) return;
    if (this.#isKnown(fields)) {
      this.#compared.add(fields);
      return;
    }
    const first = this.#doubts === this.#settled;
    this.#doubts += 1;
    if (first) void this.renew();
    else this.lookSoon();
  };

  /** Whether the fields are no row's, or a row's as it is known: a statement that was made before had others. */
  #isKnown(fields: readonly FieldDescription[]): boolean {
    if (!fields.some(({ name }) => name === OUT.key)) return true;
    const columns = fields.filter(({ name }) => !name.startsWith('#'));
    if (columns.length === 0) return true;
    return (
      columns.length === this.#types.size &&
      columns.every(({ dataTypeID, name }) => this.#types.get(name) === dataTypeID)
    );
  }

  /**
   * Whether a statement failed because the table is another than the one that it was made for, and may succeed when
   * it is made anew. Does not reject.
   *
   * @param made what was known then
   */
  async altered(error: unknown, made: RowShape | undefined, timeoutMs: number): Promise<boolean> {
    const { clock, name } = this.#options;
    const certain = isCertain(error);
    if (certain === undefined || timeoutMs <= 0) return false;
    if (this.#shape !== made) return true;
    if (!certain && clock.monotonic() - this.#vainAtMs < PAUSE_MS) return false;
    const deadline = storeDeadline(clock, timeoutMs, `${name}: the catalogue was not read in time`);
    await deadline.bound(this.renew()).catch(() => undefined);
    const altered = this.#shape !== made;
    if (!altered && !certain) this.#vainAtMs = clock.monotonic();
    return altered;
  }

  /** What is known now: compared by identity. */
  get known(): RowShape | undefined {
    return this.#shape;
  }
}

/** `undefined`: the table's columns have no part in it. */
function isCertain(error: unknown): boolean | undefined {
  const { cause } = error instanceof StoreRefusedError ? error : { cause: error };
  const state = stateOf(cause) ?? '';
  if (ALTERED.has(state) || isStalePlan(cause) || isAttachedAgain(cause)) return true;
  return ILL_FITTING.has(state) || error instanceof UnknownPropertyError ? false : undefined;
}

/** Failures inside a transaction that its next run does not meet: the table was altered, and its columns are known now. */
const altering = new WeakSet<object>();

/** Notes that the transaction in which this failed may run again. */
export function noteAltered(error: unknown): void {
  if (error instanceof Error) altering.add(error);
}

export function isAlteredMeanwhile(error: unknown): boolean {
  return error instanceof Error && altering.has(error);
}

/** Whether an error may come of columns that are others than they were. */
export function isDoubtful(error: unknown): boolean {
  return isCertain(error) !== undefined;
}

/** True where all that was known is still there. More may have come. */
export function holds(info: TableInfo, known: readonly TableColumn[]): boolean {
  const types = new Map(info.columns.map((column) => [column.property, signatureOf(column)]));
  return known.every((column) => types.get(column.property) === signatureOf(column));
}

function signatureOf({ identityAlways, name, oid, textType, type, writable }: TableColumn): string {
  const labels = typeof textType === 'string' ? undefined : textType.labels;
  return JSON.stringify([name, oid, type, writable, identityAlways, labels]);
}
