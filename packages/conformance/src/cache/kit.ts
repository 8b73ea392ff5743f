import { expectThat } from '../kit/expect.js';
import { caseRunner } from '../kit/runner.js';
import { batchCases } from './batches.js';
import { bufferCases } from './buffer.js';
import { changeCases, headCases } from './changes.js';
import { cacheContext } from './context.js';
import { differentialCases } from './differential.js';
import { faultCases } from './faults.js';
import { intentCases } from './intents.js';
import { noticeCases } from './notices.js';
import { payloadCases } from './payloads.js';
import { raceCases } from './races.js';
import { readerCases } from './readers.js';
import { tagCases } from './tags.js';
import type { CacheConformanceOptions, CacheHook } from './under-test.js';
import { unflushedCases } from './unflushed.js';
import { writeCases } from './writes.js';

const HOOKS: readonly CacheHook[] = ['second', 'evict', 'cut', 'flushScripts', 'freeze'];

/**
 * Registers the cases that every cache adapter must pass, with the runner's own `describe` and `test`.
 * Each case asks `create` for an adapter of its own. Cases are named by the protocol's rules and the
 * guarantees that they hold.
 */
export function cacheConformance(options: CacheConformanceOptions): void {
  const hooks = options.hooks ?? [];
  options.describe(options.name ?? 'cache conformance', () => {
    const test = caseRunner(options, () => cacheContext(options));
    test('claims: the adapter names itself, and options.hooks names the hooks that the factory gives', async (c) => {
      expectThat(typeof c.cache.name === 'string' && c.cache.name.length > 0, 'cache.name must not be empty');
      for (const hook of HOOKS) {
        const given = c.underTest[hook] !== undefined;
        expectThat(
          given === hooks.includes(hook),
          given
            ? `the factory gives the hook ${hook}: name it in options.hooks, so that its cases run`
            : `options.hooks names ${hook}, but the factory does not give it`,
        );
      }
      const buffers = c.cache.unflushed !== undefined;
      expectThat(
        buffers === (options.buffer ?? false),
        buffers
          ? 'cache.unflushed is there: set options.buffer, so that its cases run'
          : 'options.buffer is set, but cache.unflushed is not there',
      );
      expectThat(
        (c.cache.notices !== undefined) === (options.notices ?? false),
        'options.notices must say whether cache.notices is there, so that its cases run',
      );
      expectThat(
        (c.cache.watchChanges !== undefined) === (options.changes ?? false),
        'options.changes must say whether cache.watchChanges is there, so that its cases run',
      );
      expectThat(
        !c.cache.shared || hooks.includes('second'),
        'cache.shared is true: give a second client, and name it in options.hooks',
      );
    });
    writeCases(test);
    readerCases(test);
    intentCases(test);
    tagCases(test);
    payloadCases(test);
    headCases(test);
    batchCases(test);
    raceCases(test);
    differentialCases(test, options.propertyRuns ?? 100, options.buffer ?? false);
    faultCases(test, hooks);
    if (options.notices === true) noticeCases(test);
    if (options.changes === true) changeCases(test, hooks);
    if (options.buffer === true) {
      bufferCases(test);
      unflushedCases(test, hooks);
    }
  });
}
