import { expectThat } from '../kit/expect.js';
import { caseRunner } from '../kit/runner.js';
import { queueContext } from './context.js';
import { deliveryCases } from './deliveries.js';
import { failureCases } from './failures.js';
import type { QueueConformanceOptions, QueueHook } from './under-test.js';

const HOOKS: readonly QueueHook[] = ['second', 'limit', 'makeUnavailable'];

/**
 * Registers the cases that every queue adapter must pass, with the runner's own `describe` and `test`.
 * Each case asks `create` for an empty queue of its own.
 */
export function queueConformance(options: QueueConformanceOptions): void {
  const hooks = options.hooks ?? [];
  options.describe(options.name ?? 'queue conformance', () => {
    const test = caseRunner(options, () => queueContext(options));
    test('claims: the adapter names itself, and options.hooks names the hooks that the factory gives', async (c) => {
      expectThat(typeof c.queue.name === 'string' && c.queue.name.length > 0, 'queue.name must not be empty');
      expectThat(
        Number.isInteger(c.underTest.attempts) && c.underTest.attempts > 0,
        'the factory must say how often a failing job is tried',
      );
      for (const hook of HOOKS) {
        const given = c.underTest[hook] !== undefined;
        expectThat(
          given === hooks.includes(hook),
          given
            ? `the factory gives ${hook}: name it in options.hooks, so that its cases run`
            : `options.hooks names ${hook}, but the factory does not give it`,
        );
      }
    });
    deliveryCases(test);
    failureCases(test, hooks);
  });
}
