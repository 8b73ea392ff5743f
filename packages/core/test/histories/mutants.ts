import type { CacheCommand, PutCommand } from '../../src/contracts/cache-commands.js';
import type { Entry, HoleEntry, Transition } from '../../src/protocol/entry.js';
import { applyCommand } from '../../src/protocol/transitions.js';
import type { Apply } from './sim-cache.js';
import type { WorldOptions } from './world.js';

/** The protocol with one rule taken out, and the world in which that must show. */
export interface Mutant {
  readonly rule: number;
  readonly name: string;
  readonly apply: Apply;
  readonly world?: Omit<WorldOptions, 'seed' | 'apply'>;
}

const STRICT = { consistency: 'strict', evicts: false } as const;
const REPLICA = { replica: true, evicts: false } as const;
const UNVERSIONED = { versioned: false, evicts: false } as const;

function asValue(command: PutCommand, nowMs: number): Transition {
  const { version, payload, staleAtMs, ttlMs } = command;
  return {
    entry: { kind: 'value', version, payload, staleAtMs, expiresAtMs: nowMs + ttlMs, unflushed: false },
    reply: { kind: 'put', outcome: 'stored' },
  };
}

/** What `change` makes of each transition's result. */
function after(change: (before: Entry, command: CacheCommand, result: Transition) => Transition): Apply {
  return (entry, command, nowMs) => {
    const before = entry !== undefined && entry.expiresAtMs <= nowMs ? undefined : entry;
    return change(before, command, applyCommand(before, command, nowMs));
  };
}

function isRaised(before: Entry, result: Transition): result is Transition & { entry: HoleEntry } {
  return before?.kind === 'hole' && result.entry?.kind === 'hole' && result.entry.floor > before.floor;
}

export const MUTANTS: readonly Mutant[] = [
  {
    rule: 2,
    name: 'an older put overwrites a newer value',
    apply: (entry, command, nowMs) =>
      command.kind === 'put' && entry?.kind === 'value'
        ? asValue(command, nowMs)
        : applyCommand(entry, command, nowMs),
  },
  {
    rule: 2,
    name: 'a put needs no token on a hole',
    apply: (entry, command, nowMs) =>
      command.kind === 'put' && entry?.kind === 'hole' && command.version >= entry.floor
        ? asValue(command, nowMs)
        : applyCommand(entry, command, nowMs),
  },
  {
    rule: 2,
    name: 'a put fills an empty key',
    apply: (entry, command, nowMs) =>
      command.kind === 'put' && (entry === undefined || entry.expiresAtMs <= nowMs)
        ? asValue(command, nowMs)
        : applyCommand(entry, command, nowMs),
  },
  {
    rule: 2,
    name: 'a reserved put ignores the floor',
    apply: (entry, command, nowMs) =>
      command.kind === 'put' && entry?.kind === 'hole' && entry.reservation === command.token
        ? asValue(command, nowMs)
        : applyCommand(entry, command, nowMs),
  },
  {
    rule: 2,
    name: 'a put that can not be placed leaves an empty key empty',
    // The reservation must be lost on its way, and its writer meet a replica that lags.
    world: { ...REPLICA, crowded: false, faults: 0.1 },
    apply: after((before, command, result) =>
      command.kind === 'put' && before === undefined ? { ...result, entry: undefined } : result,
    ),
  },
  {
    rule: 3,
    name: 'an invalidation deletes',
    world: REPLICA,
    apply: after((_, command, result) =>
      command.kind === 'invalidate'
        ? { entry: undefined, reply: { kind: 'invalidate', outcome: 'floored' } }
        : result,
    ),
  },
  {
    rule: 3,
    name: 'an invalidation leaves a lower value',
    apply: (entry, command, nowMs) =>
      command.kind === 'invalidate' && entry?.kind === 'value'
        ? { entry, reply: { kind: 'invalidate', outcome: 'nothing' } }
        : applyCommand(entry, command, nowMs),
  },
  {
    rule: 4,
    name: 'a raised floor keeps the lease, and no fill looks at the floor',
    apply: (entry, command, nowMs) => {
      const sighted = command.kind === 'fill' && entry?.kind === 'hole' ? { ...entry, floor: 0 } : entry;
      const result = applyCommand(sighted, command, nowMs);
      if (entry?.kind !== 'hole' || !isRaised(entry, result)) return result;
      return { ...result, entry: { ...result.entry, lease: entry.lease } };
    },
  },
  {
    rule: 4,
    name: 'a raised floor keeps the known absence',
    apply: after((before, _, result) =>
      before?.kind === 'hole' && isRaised(before, result)
        ? { ...result, entry: { ...result.entry, knownAbsent: before.knownAbsent } }
        : result,
    ),
  },
  {
    rule: 5,
    name: 'a fill needs no lease',
    apply: (entry, command, nowMs) => {
      if (command.kind !== 'fill' || entry?.kind === 'value' || entry?.kind === 'foreign')
        return applyCommand(entry, command, nowMs);
      const hole = entry ?? {
        kind: 'hole' as const,
        floor: 0,
        knownAbsent: false,
        reservation: undefined,
        intents: [],
        expiresAtMs: nowMs + 1_000,
      };
      return applyCommand(
        { ...hole, lease: { token: command.token, untilMs: nowMs + 1_000 } },
        command,
        nowMs,
      );
    },
  },
  {
    rule: 5,
    name: 'a fill ignores the floor',
    world: REPLICA,
    apply: (entry, command, nowMs) =>
      command.kind === 'fill' && entry?.kind === 'hole'
        ? applyCommand({ ...entry, floor: 0 }, command, nowMs)
        : applyCommand(entry, command, nowMs),
  },
  {
    rule: 5,
    name: 'an absence that was loaded becomes a value',
    apply: after((before, command, result) =>
      command.kind === 'fill' &&
      command.payload === null &&
      result.reply.kind === 'fill' &&
      result.reply.outcome === 'filled' &&
      before?.kind === 'hole'
        ? {
            ...result,
            entry: {
              kind: 'value',
              version: Math.max(1, before.floor),
              payload: null,
              staleAtMs: 0,
              expiresAtMs: Number.MAX_SAFE_INTEGER,
              unflushed: false,
            },
          }
        : result,
    ),
  },
  {
    rule: 6,
    name: 'all tokens are the same',
    apply: (entry, command, nowMs) =>
      applyCommand(
        entry,
        'token' in command && command.token !== undefined ? { ...command, token: 'same' } : command,
        nowMs,
      ),
  },
  {
    rule: 7,
    name: 'an intent leaves the value readable',
    world: STRICT,
    apply: (entry, command, nowMs) =>
      command.kind === 'intend' && entry?.kind === 'value'
        ? { entry, reply: { kind: 'reserved', known: entry.version } }
        : applyCommand(entry, command, nowMs),
  },
  {
    rule: 7,
    name: 'readers fill while an intent stands',
    world: { ...STRICT, faults: 0.1 },
    apply: (entry, command, nowMs) => {
      if (command.kind !== 'lease' || entry?.kind !== 'hole') return applyCommand(entry, command, nowMs);
      const result = applyCommand({ ...entry, intents: [] }, command, nowMs);
      return result.entry?.kind === 'hole'
        ? { ...result, entry: { ...result.entry, intents: entry.intents } }
        : result;
    },
  },
  {
    rule: 7,
    name: 'a put makes a value while other intents stand',
    world: STRICT,
    apply: (entry, command, nowMs) =>
      command.kind === 'put' && entry?.kind === 'hole'
        ? applyCommand(
            { ...entry, intents: entry.intents.filter(({ token }) => token === command.token) },
            command,
            nowMs,
          )
        : applyCommand(entry, command, nowMs),
  },
  {
    rule: 7,
    name: 'an unversioned put is taken although another write overlapped it',
    world: UNVERSIONED,
    apply: (entry, command, nowMs) =>
      command.kind === 'put' && entry?.kind === 'hole'
        ? applyCommand(
            { ...entry, intents: entry.intents.map((intent) => ({ ...intent, overlapped: false })) },
            command,
            nowMs,
          )
        : applyCommand(entry, command, nowMs),
  },
];
