import type { Clock, StoreInstallation, TransactionHost } from '@lockstep/core';
import type { Knex } from 'knex';
import type { PostgresFeed } from '../feed/feed.js';
import { KeyCodec } from '../keys/codec.js';
import type { Run, TableInfo, TableSpec } from '../sql/catalog.js';
import { stampedAs } from '../sql/declared.js';
import { AsSent } from '../values/as-sent.js';
import { PostgresRows } from '../values/carrier.js';
import type { Session } from '../wire/session.js';
import { PlainWriter } from '../write/plain.js';
import { Shapes } from '../write/shape.js';
import { Statements } from '../write/statements/statements.js';
import { Sums } from '../write/sums.js';
import { Writer } from '../write/writer.js';
import { NewRowKeys } from './new-rows.js';
import type { TableShape } from './shape.js';

export interface TableParts {
  readonly database: string;
  readonly run: Run;
  readonly session: Session;
  readonly replica: Session | undefined;
  readonly clock: Clock;
  readonly prepared: boolean;
  readonly transactions: TransactionHost<Knex.Transaction>;
  readonly feed: PostgresFeed;
  readonly installation: (table: { readonly spec: TableSpec }) => StoreInstallation;
}

/** A table as the catalogue described it, and what was made for it. */
export interface OpenedTable<Value> {
  readonly info: TableInfo;
  readonly rows: PostgresRows<Value>;
  readonly codec: KeyCodec;
  readonly statements: Statements;
  readonly shapes: Shapes;
  readonly newRows: NewRowKeys;
  readonly writer: Pick<Writer<Value>, 'write'>;
  /** Absent while the table is kept in step. */
  readonly plain?: PlainWriter<Value>;
  readonly asSent: AsSent;
}

/**
 * @param name the table's, for messages
 * @param kept false: the table is not kept in step any more
 */
export function openedTable<Value>(
  info: TableInfo,
  name: string,
  { session, clock, prepared, feed }: TableParts,
  shape: TableShape,
  kept: boolean,
): OpenedTable<Value> {
  const { source } = info;
  const codec = new KeyCodec(info.keyColumns, name);
  const statements = new Statements(info, prepared);
  const shapes = new Shapes(info);
  shape.know(info);
  const { known } = shape;
  const sums = new Sums(info, (oid) => session.parserOf(oid));
  const rows = new PostgresRows<Value>(name, info.columns, (oid) => session.parserOf(oid));
  const { described } = shape;
  const parts = { name, session, codec, shapes, sums, clock, described };
  const newRows = new NewRowKeys({ name, info, codec, session, prepared });
  const asSent = new AsSent(info, (oid) => session.parserOf(oid));
  const opened = { info, rows, codec, statements, shapes, newRows, asSent };
  if (!kept) {
    const plain = new PlainWriter<Value>({ ...parts, info });
    return { ...opened, writer: plain, plain };
  }
  const writer = new Writer<Value>({
    ...parts,
    source: stampedAs(info),
    statements,
    prepared,
    altered: (error, timeoutMs) => shape.altered(error, known, timeoutMs),
    recordedTogether: (changes) => feed.recordedTogether(source, changes),
  });
  return { ...opened, writer };
}
