import type { ViewOptions } from '../contracts/views.js';
import type { NearMark } from '../near/entries.js';
import type { EngineContext } from '../runtime/context.js';
import type { Tally } from '../runtime/tally.js';
import type { RowsDependency } from './dependency.js';
import type { ViewCodec } from './entry.js';
import type { Generations } from './generations.js';
import type { NearView } from './near.js';
import type { ViewSettings } from './settings.js';

/** The context that the parts of one view share. */
export interface ViewContext<Params, Value> extends EngineContext {
  readonly settings: ViewSettings;
  readonly load: ViewOptions<Params, Value>['load'];
  readonly dependsOn: ViewOptions<Params, Value>['dependsOn'];
  /** True where `dependsOn` names more by what a load has found: no other view can name what this one depends on. */
  readonly looksAtFound: boolean;
  /** The start of its cache keys. */
  readonly keyPrefix: string;
  readonly codec: ViewCodec<Value>;
  readonly generations: Generations;
  /** `undefined`: it has no near entries. */
  readonly near: NearView<Value> | undefined;
  readonly tally: Tally;
}

/** One read of a view, whose collections are open. */
export interface ViewRead<Params> {
  readonly params: Params;
  /** `undefined`: none. */
  readonly cursor: unknown;
  readonly key: string;
  readonly cacheKey: string;
  readonly rows: readonly RowsDependency[];
  /** The cache's keys of their tags, each once. */
  readonly tags: readonly string[];
  /** By the clock's `monotonic`. */
  readonly startedAtMs: number;
  /** `undefined`: what is found is not stored near. */
  readonly mark: NearMark | undefined;
}
