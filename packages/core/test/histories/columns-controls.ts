import type { StoreAdapter, StoreCommand, StoreOutcome, StorePatch } from '../../src/contracts/store.js';
import { applyCommand } from '../../src/protocol/transitions.js';
import type { Columns } from './columns-history.js';
import type { ColumnsWorldOptions } from './columns-world.js';

/** A rule of patches, or of rows that the store makes the key of, taken out. */
export interface ColumnsControl {
  readonly name: string;
  readonly world: Omit<ColumnsWorldOptions, 'seed'>;
}

type Store = StoreAdapter<Columns>;
type Known = Map<string, Columns | null>;

/** A store that remembers each row as its process has seen it last. */
function knowing(
  sent: (command: StoreCommand<Columns>, known: Known) => StoreCommand<Columns>,
  told: (
    outcome: StoreOutcome<Columns>,
    command: StoreCommand<Columns>,
    known: Known,
  ) => StoreOutcome<Columns>,
): (store: Store) => Store {
  return (store) => {
    const known: Known = new Map();
    return {
      ...store,
      async read(keys, call) {
        const rows = await store.read(keys, call);
        keys.forEach((key, i) => {
          known.set(key, rows[i]?.value ?? null);
        });
        return rows;
      },
      async write(commands, call) {
        const outcomes = await store.write(
          commands.map((command) => sent(command, known)),
          call,
        );
        return outcomes.map((outcome, i) => {
          const command = commands[i] as StoreCommand<Columns>;
          const result = told(outcome, command, known);
          if (result.kind === 'written') known.set(command.key, result.value);
          return result;
        });
      },
    };
  };
}

const blind = (command: StoreCommand<Columns>): command is StorePatch<Columns> =>
  command.kind === 'patch' && command.ifVersion === undefined;

/** The columns of the last caller of a patch. */
function ofTheLast(set: StorePatch<Columns>['set']): StorePatch<Columns>['set'] {
  const last = Math.max(...Object.values(set as Record<string, number>));
  return Object.fromEntries(Object.entries(set).filter(([, value]) => value === last));
}

const isCreated = (cacheKey: string): boolean => cacheKey.startsWith('wtc:rows:c');

export const COLUMNS_CONTROLS: readonly ColumnsControl[] = [
  {
    name: 'a patch writes the whole row, as its process knows it',
    world: {
      storeOf: knowing(
        (command, known) => {
          const row = known.get(command.key);
          return blind(command) && row ? { ...command, set: { ...row, ...command.set } } : command;
        },
        (outcome) => outcome,
      ),
    },
  },
  {
    name: 'patches that merge keep the columns of the last caller',
    world: {
      storeOf: knowing(
        (command) => (blind(command) ? { ...command, set: ofTheLast(command.set) } : command),
        (outcome) => outcome,
      ),
    },
  },
  {
    name: 'a patch is cached as its process knew the row, with the change',
    world: {
      storeOf: knowing(
        (command) => command,
        (outcome, command, known) => {
          const row = known.get(command.key);
          return blind(command) && outcome.kind === 'written' && row
            ? { ...outcome, value: { ...row, ...command.set } as Columns }
            : outcome;
        },
      ),
    },
  },
  {
    name: 'a created row leaves the mark that there is no such row',
    world: {
      apply: (entry, command, nowMs) =>
        command.kind === 'put' && isCreated(command.key) && entry?.kind === 'hole' && entry.knownAbsent
          ? { entry, reply: { kind: 'put', outcome: 'stored' } }
          : applyCommand(entry, command, nowMs),
    },
  },
  {
    name: 'a created row is put where nothing was reserved',
    world: {
      // With faults it shows too rarely: in the 603rd history for the first time.
      faults: 0,
      inserts: true,
      apply: (entry, command, nowMs) => {
        const absent = entry === undefined || entry.expiresAtMs <= nowMs;
        const unreserved = command.kind === 'put' && command.token === undefined && isCreated(command.key);
        if (!absent || !unreserved) return applyCommand(entry, command, nowMs);
        const { payload, staleAtMs, ttlMs, version } = command;
        const expiresAtMs = nowMs + ttlMs;
        return {
          entry: { kind: 'value', version, payload, staleAtMs, expiresAtMs, unflushed: false },
          reply: { kind: 'put', outcome: 'stored' },
        };
      },
    },
  },
];
