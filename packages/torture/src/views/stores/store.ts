import type { StoreAdapter } from '@lockstep/core';
import type { State } from '../history.js';
import type { Category, Query, ViewRow } from '../rows.js';

/** A database as the run uses it. */
export interface ViewsStore {
  readonly adapter: StoreAdapter<ViewRow, string>;
  /** Creates the table, has every change of it recorded, attaches it, and puts the rows. */
  prepare(rows: readonly ViewRow[]): Promise<void>;
  /** The rows that a view shows, but for `pair`; by the handle that the load was given. */
  find(query: Exclude<Query, { view: 'pair' }>, client: unknown): Promise<ViewRow[]>;
  one(key: string, client: unknown): Promise<ViewRow | undefined>;
  /** Other programs' statements, past Lockstep. */
  readonly foreign: Readonly<Record<'put' | 'update', (row: ViewRow) => Promise<unknown>>> & {
    remove(key: string): Promise<unknown>;
    /** Everything of one category goes to another, in one statement. */
    move(from: Category, to: Category, mark: string): Promise<unknown>;
    removeAll(): Promise<unknown>;
  };
  /** The states that each row had, as the database has recorded them. */
  states(): Promise<Map<string, State[]>>;
  /** Changes that no relay has dealt with. */
  pending(): Promise<number>;
  close(): Promise<void>;
}
