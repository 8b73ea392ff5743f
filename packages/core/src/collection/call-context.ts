import type { Reader } from '../read/reader.js';
import type { WritePath } from '../write/write-path.js';
import type { Checks } from './checks.js';
import type { CollectionContext } from './context.js';
import type { Opening } from './open.js';

/** What the calls of one collection work with. */
export interface CallContext<Value, Id> extends CollectionContext<Value> {
  readonly checks: Checks<Id>;
  readonly opening: Opening;
  readonly reader: Reader<Value>;
  readonly writes: WritePath<Value>;
}
