import { expectThat } from '../kit/expect.js';
import { caseRunner } from '../kit/runner.js';
import { arrangementCases } from './arrangements.js';
import { type StoreCase, type StoreClaims, storeContext } from './context.js';
import { creationCases } from './creations.js';
import { declaredCases } from './declared.js';
import { feedCases } from './feeds.js';
import { fenceCases } from './fences.js';
import { flushCases } from './flushes.js';
import { registryCases } from './registry.js';
import { rowCases } from './rows.js';
import { transactionEndCases } from './transaction-ends.js';
import { transactionCases } from './transactions.js';
import type { StoreConformanceOptions, StoreHook, TestedCapability } from './under-test.js';
import { versionCases } from './versions.js';

const CAPABILITIES: readonly Exclude<TestedCapability, 'fence'>[] = [
  'versioned',
  'compareAndSet',
  'transactions',
  'changeFeed',
  'consumers',
  'increment',
  'patch',
  'restamp',
  'flush',
  'batching',
];

const HOOKS: readonly StoreHook[] = [
  'second',
  'refusedValue',
  'newValue',
  'badIds',
  'sameRow',
  'foreignWrite',
  'writeInTransaction',
  'declared',
];

/**
 * Registers the cases that every store adapter must pass, with the runner's own `describe` and `test`.
 * Each case asks `create` for an adapter of its own.
 */
export function storeConformance<Value, Id>(options: StoreConformanceOptions<Value, Id>): void {
  const hooks = options.hooks ?? [];
  const claims: StoreClaims = {
    requires: (capability) => options.requires?.[capability] ?? true,
    gives: (hook) => hooks.includes(hook),
  };
  options.describe(options.name ?? 'store conformance', () => {
    // Cases know values and ids only through the factory, which made them for this very adapter.
    const create = (): ReturnType<typeof storeContext<unknown, unknown>> =>
      storeContext(options as unknown as StoreConformanceOptions<unknown, unknown>);
    const test: StoreCase = caseRunner(options, create);
    test('claims: the adapter can do what options.requires asks for, and nothing untested', async ({
      store,
    }) => {
      for (const name of ['name', 'source'] as const) {
        expectThat(
          typeof store[name] === 'string' && store[name].length > 0,
          `store.${name} must not be empty`,
        );
      }
      for (const capability of CAPABILITIES) {
        const claimed = store.capabilities[capability] ?? false;
        const required = claims.requires(capability);
        expectThat(
          claimed === required,
          required
            ? `capabilities.${capability} is required, but the adapter does not claim it`
            : `the adapter claims capabilities.${capability}: require it, so that its cases run`,
        );
      }
      expectThat(
        store.capabilities.transactions === (store.transactions !== undefined),
        'capabilities.transactions must say whether store.transactions is there',
      );
      expectThat(
        store.capabilities.changeFeed === (store.feed !== undefined),
        'capabilities.changeFeed must say whether store.feed is there',
      );
      const creates = store.newRows !== undefined || store.insert !== undefined;
      expectThat(
        (store.capabilities.create ?? false) === creates,
        'capabilities.create must say whether store.newRows or store.insert is there',
      );
      expectThat(
        creates === claims.gives('newValue'),
        creates
          ? 'the adapter claims capabilities.create: give newValue, so that its cases run'
          : 'the factory gives newValue, but the adapter makes no keys',
      );
      expectThat(
        store.capabilities.readOnly !== true,
        'the kit writes: capabilities.readOnly must not be set',
      );
      const fenced = store.fence !== undefined;
      expectThat(
        fenced === claims.requires('fence'),
        fenced
          ? 'the adapter has a fence: require it, so that its cases run'
          : 'a fence is required, but the adapter has none',
      );
    });
    test('claims: options.hooks names the hooks that the factory gives', async ({ underTest }) => {
      for (const hook of HOOKS) {
        const given = underTest[hook] !== undefined;
        expectThat(
          given === claims.gives(hook),
          given
            ? `the factory gives ${hook}: name it in options.hooks, so that its cases run`
            : `options.hooks names ${hook}, but the factory does not give it`,
        );
      }
    });
    rowCases(test, claims);
    versionCases(test, claims);
    flushCases(test, claims);
    creationCases(test, claims);
    transactionCases(test, claims);
    transactionEndCases(test, claims);
    feedCases(test, claims);
    arrangementCases(test, claims);
    registryCases(test, claims);
    fenceCases(test, claims);
    declaredCases(test, claims);
  });
}
