import type { Pointers } from '../read/pointers.js';
import type { Reader } from '../read/reader.js';
import type { WritePath } from '../write/write-path.js';
import type { Checks } from './checks.js';
import type { CollectionContext } from './context.js';
import type { Opening } from './open.js';

/** The parts that the calls of one collection use. */
export interface CallContext<Value, Id> extends CollectionContext<Value> {
  readonly checks: Checks<Id>;
  readonly opening: Opening;
  readonly reader: Reader<Value>;
  readonly writes: WritePath<Value>;
  /** One for each declared unique index. */
  readonly lookups: readonly Pointers[];
}
