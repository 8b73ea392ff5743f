export type Isolation = 'read committed' | 'repeatable read' | 'serializable';

/** How a transaction sees others, where the store lets its callers choose. Absent: as the store is set. */
export interface TransactionMode {
  /** The isolation from other transactions. @defaultValue the store's */
  readonly isolation?: Isolation | undefined;
  /** The transaction writes nothing. @defaultValue false */
  readonly readOnly?: boolean | undefined;
  /** With `serializable` and `readOnly`: it waits for a snapshot under which it can't be refused. @defaultValue false */
  readonly deferrable?: boolean | undefined;
}
