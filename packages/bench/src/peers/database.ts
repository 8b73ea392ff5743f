import type { StoreAdapter } from '@lockstep/core';
import type { Product } from '../bursts/product.js';

/** Lockstep's table: the one that is attached. */
export const OWN_TABLE = 'lockstep';

/** A table of products as a program reaches it that has no Lockstep, over a pool of connections of its own. */
export interface Table {
  load(id: string): Promise<Product | undefined>;
  save(row: Product): Promise<unknown>;
  /** Adds to the stock; the row as it is then. */
  add(id: string, by: number): Promise<Product | undefined>;
  /** Sets the stock; the row as it is then. */
  patch(id: string, stock: number): Promise<Product | undefined>;
  remove(id: string): Promise<unknown>;
  /** In one transaction. */
  saveAll(rows: readonly Product[]): Promise<unknown>;
  close(): Promise<void>;
}

/** A table as Lockstep's store adapter has it: its rows may have another form. */
export interface OwnTable {
  readonly store: StoreAdapter<never, string>;
  rowOf(product: Product): never;
  productOf(row: never): Product;
  close(): Promise<void>;
}

/** How a program writes its statements: as people do, with named statements, or with an outbox record, too. */
export type Style = 'plain' | 'named' | 'tuned';

/** A database that tables are made in, reached by its address from any process. */
export interface Database {
  /** A new table of so many products, of about so many bytes each. */
  create(name: string, products: number, valueBytes: number): Promise<void>;
  /** Installs what Lockstep needs. */
  attach(name: string): Promise<void>;
  own(name: string, pool: number): OwnTable;
  /** Undefined where the database has no such style. */
  table(name: string, pool: number, style: Style): Table | undefined;
  /** After all tables are made: statistics are up to date. */
  settle(): Promise<void>;
  /** Bytes that the database has written to its log so far. */
  logBytes(): Promise<number>;
  /** Bytes of the records of a table's changes, in a table of their own; 0 where there is none. */
  feedBytes(name: string): Promise<number>;
  close(): Promise<void>;
}
