import { InvalidIdError, type StoreCommand, type StoreOutcome, StoreRefusedError } from '@lockstep/core';
import type { KeyCodec } from '../keys/codec.js';
import type { TableColumn } from '../sql/catalog.js';
import { NO_COLUMNS, type Shape, type Shapes } from './shape.js';
import type { Sums } from './sums.js';
import { checkCell, stringify, toJson, toText } from './values.js';

/** One command, made ready to travel in a batch. */
export class Item {
  /** The command's position in the caller's list. */
  readonly index: number;
  readonly key: string;
  /** The command's element of the batch's JSON; empty where it travels as cells. */
  readonly record: string;
  /** The command's parameters, where each value is one text and it does not travel as a record. */
  readonly cells: readonly (string | null)[] | undefined;
  /** The command names a version that the row must be at. */
  readonly conditional: boolean;
  readonly above: number;
  /** A buffered write's version. */
  readonly exact: number;

  constructor(
    command: StoreCommand<unknown>,
    index: number,
    record: string,
    cells: readonly (string | null)[] | undefined,
  ) {
    this.index = index;
    this.key = command.key;
    this.record = record;
    this.cells = cells;
    this.conditional = ifVersionOf(command) !== undefined;
    // No number of the store's is none: what is not one says nothing.
    this.above = command.kind !== 'flush' && Number.isSafeInteger(command.above) ? command.above : 0;
    this.exact = command.kind === 'flush' ? command.version : 0;
  }
}

export type GroupKind =
  | 'put'
  | 'insert'
  | 'create'
  | 'replace'
  | 'patch'
  | 'delete'
  | 'increment'
  | 'restamp'
  | 'flushPut'
  | 'flushDelete';

/** Commands that travel in one statement, in key order. */
export interface Group {
  readonly kind: GroupKind;
  readonly shape: Shape;
  readonly field: TableColumn | undefined;
  readonly items: readonly Item[];
}

export interface Plan<Value> {
  readonly groups: readonly Group[];
  /** The outcomes of commands that are refused before anything is sent; the others are filled in later. */
  readonly outcomes: (StoreOutcome<Value> | undefined)[];
}

/**
 * A batch is stamped above the highest version that any of its writers saw. One that is far ahead of
 * the clock travels alone, so that it does not take the others along.
 */
const FAR_AHEAD_US = 60_000_000;

/** The table's own: how its keys, rows and sums are written. */
export interface PlanParts {
  readonly codec: KeyCodec;
  readonly shapes: Shapes;
  readonly sums: Sums;
}

/** True of commands that travel as parameters of their own, where each of their values is one text; the others do as JSON. */
export type AsCells = (kind: GroupKind, field: TableColumn | undefined) => boolean;

/** Sorts commands into statements. Keys are ordered within each, so that two batches never deadlock. */
export function planWrite<Value>(
  commands: readonly StoreCommand<Value>[],
  parts: PlanParts,
  nowMs: number,
  asCells: AsCells,
): Plan<Value> {
  const outcomes = new Array<StoreOutcome<Value> | undefined>(commands.length).fill(undefined);
  const groups: Gathered[] = [];
  const farAhead = nowMs * 1000 + FAR_AHEAD_US;
  commands.forEach((command, index) => {
    try {
      gather(groups, command, index, parts, farAhead, asCells);
    } catch (error) {
      outcomes[index] = { kind: 'failed', error: refusal(error, command.key) };
    }
  });
  for (const { items } of groups) items.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  return { groups, outcomes };
}

/** A group while it grows. */
interface Gathered extends Group {
  readonly alone: boolean;
  readonly items: Item[];
}

function gather(
  groups: Gathered[],
  command: StoreCommand<unknown>,
  index: number,
  { codec, shapes, sums }: PlanParts,
  farAhead: number,
  asCells: AsCells,
): void {
  const inputs = codec.inputs(command.key);
  const value = rowOf(command, codec);
  const shape = shapeOf(command, value, shapes);
  const field = command.kind === 'increment' ? shapes.field(command.field) : undefined;
  if (command.kind === 'increment' && field !== undefined) sums.check(command, field);
  const kind = kindOf(command);
  const cells = shape.scalar && asCells(kind, field) ? cellsOf(command, inputs, shape, value) : undefined;
  const record = cells === undefined ? recordOf(command, index, inputs, shape, value) : '';
  const item = new Item(command, index, record, cells);
  const alone = item.above > farAhead;
  const group = alone ? undefined : groupOf(groups, kind, shape, field);
  if (group === undefined) groups.push({ kind, shape, field, alone, items: [item] });
  else group.items.push(item);
}

/** A batch is of a few groups, and mostly of one. */
function groupOf(
  groups: readonly Gathered[],
  kind: GroupKind,
  shape: Shape,
  field: TableColumn | undefined,
): Gathered | undefined {
  for (const each of groups) {
    if (each.kind === kind && each.shape === shape && each.field === field && !each.alone) return each;
  }
  return undefined;
}

function shapeOf(command: StoreCommand<unknown>, value: RowValue, shapes: Shapes): Shape {
  if (value === undefined) return NO_COLUMNS;
  if (command.kind === 'flush' && command.keep !== undefined) return shapes.keeping(value, command.keep);
  return command.kind === 'patch' ? shapes.patch(value, command.unset ?? []) : shapes.of(value);
}

type RowValue = Readonly<Record<string, unknown>> | undefined;

/** Takes the key's inputs over. Behind them, but for blind puts: an increment's amount, or the version that the row must be at. */
function cellsOf(
  command: StoreCommand<unknown>,
  inputs: string[],
  { columns }: Shape,
  value: RowValue,
): (string | null)[] {
  const cells: (string | null)[] = inputs;
  const ifVersion = ifVersionOf(command);
  if (command.kind === 'increment') cells.push(String(command.by));
  else if (command.kind !== 'put' || ifVersion !== undefined)
    cells.push(ifVersion === undefined ? null : String(ifVersion));
  for (const column of columns) cells.push(toText(value?.[column.property], column));
  return cells;
}

function recordOf(
  command: StoreCommand<unknown>,
  index: number,
  inputs: readonly string[],
  { columns }: Shape,
  value: RowValue,
): string {
  const record: Record<string, unknown> = { '#n': index };
  inputs.forEach((input, part) => {
    record[`k${part}`] = input;
  });
  columns.forEach((column, position) => {
    record[`c${position}`] = toJson(value?.[column.property], column);
  });
  const ifVersion = ifVersionOf(command);
  if (ifVersion !== undefined) record['#i'] = ifVersion;
  if (command.kind === 'flush') record['#x'] = command.version;
  if (command.kind === 'increment') record['#b'] = String(command.by);
  return stringify(record, 'row');
}

function ifVersionOf(command: StoreCommand<unknown>): number | undefined {
  const ifVersion = 'ifVersion' in command ? command.ifVersion : undefined;
  return typeof ifVersion === 'number' ? ifVersion : undefined;
}

function kindOf(command: StoreCommand<unknown>): GroupKind {
  switch (command.kind) {
    case 'put':
      if (command.drawn === true) return 'create';
      return command.ifVersion === undefined ? 'put' : command.ifVersion === null ? 'insert' : 'replace';
    case 'flush':
      return command.value === null ? 'flushDelete' : 'flushPut';
    default:
      return command.kind;
  }
}

/** The row of a put, or what a patch sets; a row's key columns, where given, must be the command's own. */
function rowOf(command: StoreCommand<unknown>, codec: KeyCodec): RowValue {
  if (command.kind === 'patch') return command.set as RowValue;
  if (command.kind !== 'put' && (command.kind !== 'flush' || command.value === null)) return undefined;
  const { value } = command;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new StoreRefusedError('a row must be an object of properties', { key: command.key });
  }
  const row = value as Readonly<Record<string, unknown>>;
  // The key came with the row, in canonical form; what the row holds of it may be less exact.
  if (command.kind === 'put' && command.drawn === true) return row;
  const own = codec.keyOfRow(row);
  if (own !== undefined && own !== command.key) {
    throw new StoreRefusedError(
      `the row's key is ${JSON.stringify(own)}, but it is written as ${JSON.stringify(command.key)}`,
      { key: command.key },
    );
  }
  return row;
}

/** Throws `StoreRefusedError` for a row that the table can't hold, whatever else it holds. */
export function checkPut(key: string, value: unknown, codec: KeyCodec, shapes: Shapes): void {
  try {
    const row = rowOf({ kind: 'put', key, value, above: 0 }, codec) as NonNullable<RowValue>;
    codec.inputs(key);
    for (const column of shapes.of(row).columns) checkCell(row[column.property], column);
  } catch (error) {
    throw refusal(error, key);
  }
}

function refusal(error: unknown, key: string): StoreRefusedError {
  if (error instanceof StoreRefusedError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const where = error instanceof InvalidIdError ? '' : "the row can't be written: ";
  return new StoreRefusedError(`${where}${message}`, { key, cause: error });
}

export function isFlush({ kind }: Group): boolean {
  return kind === 'flushPut' || kind === 'flushDelete';
}

/** Which of a group's calls answers for its rows. */
export function answerOf(group: Group, calls: readonly unknown[]): number {
  return calls.length - (group.kind === 'flushDelete' ? 2 : 1);
}
