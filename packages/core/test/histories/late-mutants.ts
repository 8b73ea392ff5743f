import type { StoreFence } from '../../src/contracts/store.js';
import type { Entry } from '../../src/protocol/entry.js';
import { applyCommand } from '../../src/protocol/transitions.js';
import type { Apply } from './sim-cache.js';
import type { WorldOptions } from './world.js';

/** What keeps late commits from being seen backwards, with one part taken out. */
interface LateMutant {
  readonly name: string;
  readonly world: Omit<WorldOptions, 'seed'>;
}

function fence(change: (fence: StoreFence) => Partial<StoreFence>): NonNullable<WorldOptions['storeOf']> {
  return (store) =>
    store.fence === undefined ? store : { ...store, fence: { ...store.fence, ...change(store.fence) } };
}

/** A hole's intents as a transition should find them. */
function finding(change: (entry: Entry & { readonly kind: 'hole' }, nowMs: number) => Entry): Apply {
  return (entry, command, nowMs) =>
    applyCommand(entry?.kind === 'hole' ? change(entry, nowMs) : entry, command, nowMs);
}

export const LATE_MUTANTS: readonly LateMutant[] = [
  {
    name: 'the store looks at no deadline',
    world: {
      storeOf: (store) => ({
        ...store,
        write: (commands, { timeoutMs }) => store.write(commands, { timeoutMs }),
      }),
    },
  },
  {
    name: 'deadlines count from a clock that is ahead',
    world: { storeOf: fence(({ nowMs }) => ({ nowMs: async () => (await nowMs()) + 2_000 })) },
  },
  {
    name: 'a fill behind an intent that ran out waits for nobody',
    world: { storeOf: fence(() => ({ settle: async () => true })) },
  },
  {
    name: 'intents that ran out leave no mark',
    world: {
      apply: finding((hole, nowMs) =>
        hole.intents.some(({ untilMs }) => untilMs > nowMs) ? hole : { ...hole, intents: [] },
      ),
    },
  },
  {
    name: 'a hole is gone with its intent',
    world: {
      apply: (entry, command, nowMs) =>
        applyCommand(entry, command.kind === 'intend' ? { ...command, holeTtlMs: 1 } : command, nowMs),
    },
  },
  {
    name: 'the cache hides that it lost its intents',
    world: { restarts: true, hidesLosses: true },
  },
];
