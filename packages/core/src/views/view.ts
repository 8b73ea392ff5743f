import type { View, ViewInfo, ViewOptions } from '../contracts/views.js';
import { InvalidOptionError, UnsupportedError } from '../errors.js';
import { withDefaults } from '../kit/options.js';
import { nearViewSettings } from '../near/settings.js';
import { viewPrefix } from '../protocol/tags.js';
import type { EngineContext } from '../runtime/context.js';
import { jsonSerializer } from '../serializers/json.js';
import { Compression, checkCompression } from '../values/compression.js';
import { ViewCalls } from './calls.js';
import { type RowsDependency, rowsOf } from './dependency.js';
import { ViewCodec } from './entry.js';
import { Generations } from './generations.js';
import { NearView } from './near.js';
import { paramsOf } from './params.js';
import { probe } from './probe.js';
import { VIEW } from './settings.js';

/** Makes a view's parts and joins them. Throws `InvalidOptionError`. */
export function viewOf<Params, Value>(
  options: ViewOptions<Params, Value, never>,
  context: EngineContext,
): Omit<ViewInfo, 'calls'> & { readonly calls: View<Params, Value> } {
  const name = typeof options?.name === 'string' ? `view("${options.name}")` : 'view';
  const settings = withDefaults(options, VIEW, name);
  const { load, dependsOn, schema } = options as ViewOptions<Params, Value>;
  const keyPrefix = viewPrefix(context.prefix, settings.name);
  const rows = rowsAtDefinition(dependsOn, settings.name);
  const strict = rows.find(({ collection }) => collection.settings.consistency === 'strict');
  const nearSettings =
    settings.near && nearViewSettings(settings.near, strict?.description, context.adapter, name);
  if (strict !== undefined) {
    const problem = `depends on ${strict.description} of a strict collection: a view promises G2, and not G7`;
    context.events.error.emit({
      where: 'view',
      error: new UnsupportedError(`view "${settings.name}" ${problem}`),
    });
  }
  // Values are mostly made of the rows that they depend on.
  const serializer = settings.serializer ?? rows[0]?.collection.store.serializer ?? jsonSerializer();
  const { compression = context.compression, maxPayloadBytes: maxBytes } = settings;
  checkCompression(settings.compression, name);
  const codec = new ViewCodec({
    collection: settings.name,
    serializer,
    schema,
    maxBytes,
    compression: new Compression(compression, maxBytes),
    integrity: context.integrity,
    keyPrefix,
  });
  const generations = new Generations(context.cache.trust);
  const near =
    nearSettings && new NearView({ context, settings, near: nearSettings, keyPrefix, codec, rows });
  const tally = context.announced.add('view', settings);
  const looks = dependsOn.length > 1 || looksAtFound(dependsOn);
  const own = { settings, load, dependsOn, looksAtFound: looks, keyPrefix, codec, generations, near, tally };
  const calls = new ViewCalls<Params, Value>({ ...context, ...own });
  return { name: settings.name, calls, keyPrefix, encoding: serializer.encoding, paramsOf };
}

/**
 * The rows that `dependsOn` names for the probe: they are checked when the view is defined. Any other failure on params
 * that no caller gave counts for nothing. Throws `InvalidOptionError`, `UnsupportedError`.
 */
function rowsAtDefinition(dependsOn: (params: never) => unknown, view: string): RowsDependency[] {
  let named: unknown;
  try {
    named = dependsOn(probe as never);
  } catch (error) {
    if (error instanceof InvalidOptionError || error instanceof UnsupportedError) throw error;
    return [];
  }
  // `dependsOn` may return the params, or a list of them.
  return named === probe || (Array.isArray(named) && named.includes(probe)) ? [] : rowsOf(named, view);
}

/**
 * True when `dependsOn` looks at what a load has found. A parameter with a default, rest parameters, and `arguments` are not
 * counted in a function's length.
 */
function looksAtFound(dependsOn: (params: never, found: never) => unknown): boolean {
  let looked = false;
  const look = (): object => {
    looked = true;
    return probe;
  };
  const found: object = new Proxy(() => undefined, {
    get: look,
    apply: look,
    has() {
      look();
      return false;
    },
    ownKeys(target) {
      look();
      return Reflect.ownKeys(target);
    },
  });
  try {
    dependsOn(probe as never, found as never);
  } catch {
    // Params and found values that nobody gave.
  }
  return looked;
}
