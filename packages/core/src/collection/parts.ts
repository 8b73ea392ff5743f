import type { StoreAdapter } from '../contracts/store.js';
import type { Reader } from '../read/reader.js';
import type { EngineContext } from '../runtime/context.js';
import type { Codec } from '../values/codec.js';
import type { WritePath } from '../write/write-path.js';
import type { Checks } from './checks.js';
import type { Opening } from './open.js';
import type { CollectionSettings } from './settings.js';

/** What the calls of one collection are made of. */
export interface CollectionParts<Value, Id> {
  readonly store: StoreAdapter<Value, never>;
  readonly settings: CollectionSettings;
  /** The start of its cache keys. */
  readonly keyPrefix: string;
  readonly codec: Codec<Value>;
  readonly context: EngineContext;
  readonly checks: Checks<Id>;
  readonly opening: Opening;
  readonly reader: Reader<Value>;
  readonly writes: WritePath<Value>;
}
