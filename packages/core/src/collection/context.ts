import type { StoreAdapter } from '../contracts/store.js';
import type { Membership } from '../feed/membership.js';
import type { NearEntries } from '../near/entries.js';
import type { EngineContext } from '../runtime/context.js';
import type { Tally } from '../runtime/tally.js';
import type { Codec } from '../values/codec.js';
import type { CollectionTags } from '../views/tags.js';
import type { CollectionSettings } from './settings.js';

/** The context that the parts of one collection share. */
export interface CollectionContext<Value> extends EngineContext {
  readonly settings: CollectionSettings;
  readonly store: StoreAdapter<Value, never>;
  readonly tally: Tally;
  /** The start of its cache keys. */
  readonly keyPrefix: string;
  readonly codec: Codec<Value>;
  /** The time to live of a new entry: jittered. */
  readonly lifetime: (ttlMs: number) => { readonly ttlMs: number; readonly staleAtMs: number };
  /** The collections that are kept in step beside this one; `undefined`: the store has no change feed. */
  readonly member: Membership | undefined;
  /** `undefined`: every read asks the cache. */
  readonly near: NearEntries<Value> | undefined;
  /** `undefined`: views do not depend on the collection. */
  readonly tags: CollectionTags | undefined;
}
