import {
  applyCommand,
  believedUpTo,
  type CacheAdapter,
  type CacheCommand,
  type CacheReply,
  type ChangeListener,
  type Entry,
  type HoleEntry,
  hitOf,
  type Transition,
  type UnflushedIndex,
  type ValueEntry,
} from '@lockstep/core';
import { manualClock } from '@lockstep/core/faults';
import { memoryCache } from '@lockstep/core/memory';
import type { CacheUnderTest } from '../../src/index.js';

type Apply = (entry: Entry, command: CacheCommand, nowMs: number) => Transition;

/** One rule taken out, and the case (its name, or the start of it) that must notice. */
export interface BrokenCache {
  readonly flaw: string;
  readonly noticedBy: readonly string[];
  readonly create: () => CacheUnderTest;
}

/** A cache that runs other transitions than the protocol's. */
function cacheOf(
  apply: Apply,
  change: (cache: CacheAdapter) => Partial<CacheAdapter> = () => ({}),
  tells: (change: CacheCommand['kind'] | 'eviction') => boolean = () => true,
): CacheUnderTest {
  const clock = manualClock();
  const listeners = new Set<ChangeListener>();
  const tell = (key: string, change: CacheCommand['kind'] | 'eviction'): void => {
    if (tells(change)) for (const listener of listeners) listener.changed(key);
  };
  const entries = new Map<string, Entry>();
  // Its index alone: the entries are this cache's own.
  const { unflushed } = memoryCache({ clock, maxEntries: 1 });
  let closed = false;
  function check(): void {
    if (closed) throw new Error('closed');
  }
  const live = (key: string): Entry => {
    const entry = entries.get(key);
    return entry !== undefined && entry.expiresAtMs > clock.now() ? entry : undefined;
  };
  const cache: CacheAdapter = {
    name: 'broken',
    shared: false,
    local: true,
    async read(keys) {
      check();
      return keys.map((key) => hitOf(live(key)));
    },
    async execute(commands) {
      check();
      return commands.map((command) => {
        if (command.kind === 'buffer' && command.durable) return new Error('there is no disk');
        const { entry, reply } = apply(live(command.key), command, clock.now());
        entries.set(command.key, entry);
        tell(command.key, command.kind);
        return reply;
      });
    },
    watchChanges(_, listener) {
      listeners.add(listener);
      const close = async (): Promise<void> => void listeners.delete(listener);
      return { add: () => undefined, ping: async () => undefined, close };
    },
    async probe() {
      check();
      return new Map([['', { generation: undefined, nowMs: clock.now() }]]);
    },
    info: async () => ({
      evicts: false,
      evictsPersistent: false,
      generation: undefined,
      description: 'broken',
    }),
    async kept() {
      check();
      return new Map([['', Number.POSITIVE_INFINITY]]);
    },
    ...(unflushed === undefined ? {} : { unflushed }),
    async *scan(prefix) {
      for (const key of [...entries.keys()].filter((name) => name.startsWith(prefix))) {
        const entry = live(key);
        if (entry?.kind === 'value') {
          const { payload, unflushed: mark, version } = entry;
          yield { key, version, state: 'value', payload, unflushed: mark };
        } else if (entry?.kind === 'hole') yield { key, version: entry.floor, state: 'hole', payload: null };
      }
    },
    async close() {
      closed = true;
    },
  };
  return {
    cache: { ...cache, ...change(cache) },
    advance: (ms) => clock.advance(ms),
    evict(key) {
      entries.delete(key);
      tell(key, 'eviction');
    },
  };
}

type Put = Extract<CacheCommand, { kind: 'put' | 'fill' | 'refresh' }>;

function valueFrom(command: Put, nowMs: number): ValueEntry {
  const { version, payload, staleAtMs, ttlMs } = command;
  return { kind: 'value', version, payload, staleAtMs, expiresAtMs: nowMs + ttlMs, unflushed: false };
}

const stored: CacheReply = { kind: 'put', outcome: 'stored' };

/** The protocol as it is, in the same shell as the broken ones: what they fail is their flaw. */
export const soundCache = (): CacheUnderTest => cacheOf(applyCommand);

/** The protocol with one kind of command changed; `undefined`: as the protocol says. */
function except(
  change: (entry: Entry, command: CacheCommand, nowMs: number) => Transition | undefined,
): Apply {
  return (entry, command, nowMs) => change(entry, command, nowMs) ?? applyCommand(entry, command, nowMs);
}

/** The protocol with what it leaves changed, wherever it leaves a hole of a hole. */
function leaving(change: (after: HoleEntry, before: HoleEntry, command: CacheCommand) => HoleEntry): Apply {
  return (entry, command, nowMs) => {
    const { entry: after, reply } = applyCommand(entry, command, nowMs);
    if (entry?.kind !== 'hole' || after?.kind !== 'hole') return { entry: after, reply };
    return { entry: change(after, entry, command), reply };
  };
}

function flawed(flaw: string, noticedBy: readonly string[], apply: Apply): BrokenCache {
  return { flaw, noticedBy, create: () => cacheOf(apply) };
}

function wrapped(
  flaw: string,
  noticedBy: readonly string[],
  change: (cache: CacheAdapter) => Partial<CacheAdapter>,
): BrokenCache {
  return { flaw, noticedBy, create: () => cacheOf(applyCommand, change) };
}

/** The index of unflushed keys with a part replaced. */
function indexOf(
  { unflushed }: CacheAdapter,
  change: (index: UnflushedIndex) => Partial<UnflushedIndex>,
): Partial<CacheAdapter> {
  return unflushed === undefined ? {} : { unflushed: { ...unflushed, ...change(unflushed) } };
}

/** A number as Lua's `tostring` writes it: 14 digits. */
function lossy(command: CacheCommand): CacheCommand {
  if (!('version' in command)) return command;
  return { ...command, version: Number(command.version.toPrecision(14)) };
}

export const BROKEN_CACHES: readonly BrokenCache[] = [
  ...(['put', 'invalidate', 'fill', 'eviction'] as const).map((untold) => ({
    flaw: `a change is not told: ${untold}`,
    noticedBy: ['changes: each is told'],
    create: () => cacheOf(applyCommand, undefined, (kind) => kind !== untold),
  })),
  flawed(
    'a put is stored whatever the entry holds',
    ['rule 2: a put below the value is superseded', 'rule 2: puts that arrive in any order', 'race: puts'],
    except((_, command, nowMs) =>
      command.kind === 'put' ? { entry: valueFrom(command, nowMs), reply: stored } : undefined,
    ),
  ),
  flawed(
    'a put on a hole is stored without a token',
    ['rule 2: a put without a token on a hole', "rule 2: a put with another writer's token"],
    except((entry, command, nowMs) =>
      command.kind === 'put' && entry?.kind === 'hole' && command.version >= entry.floor
        ? { entry: valueFrom(command, nowMs), reply: stored }
        : undefined,
    ),
  ),
  flawed(
    'a reserved put is stored below the floor',
    ['rule 2: a reserved put below the floor'],
    except((entry, command, nowMs) =>
      command.kind === 'put' && entry?.kind === 'hole' && entry.reservation === command.token
        ? { entry: valueFrom(command, nowMs), reply: stored }
        : undefined,
    ),
  ),
  flawed(
    'a put on an empty key is stored',
    [
      'rule 2: a put on an empty key',
      'eviction: a late put',
      'eviction: a put whose reservation was evicted',
    ],
    except((entry, command, nowMs) =>
      command.kind === 'put' && entry === undefined
        ? { entry: valueFrom(command, nowMs), reply: stored }
        : undefined,
    ),
  ),
  flawed(
    'a put on an empty key leaves no floor',
    ['rule 2: a put on an empty key'],
    except((entry, command) =>
      command.kind === 'put' && entry === undefined
        ? { entry, reply: { kind: 'put', outcome: 'floored' } }
        : undefined,
    ),
  ),
  flawed(
    'a put leaves its reservation in place',
    ['rule 2: a reservation serves one put'],
    leaving((after, before, command) =>
      command.kind === 'put' ? { ...after, reservation: before.reservation } : after,
    ),
  ),
  flawed(
    'a value that becomes a hole remembers a reservation',
    ['rule 1: a value keeps no reservation'],
    (() => {
      const noted = new Map<string, string>();
      return (entry, command, nowMs) => {
        if (command.kind === 'reserve' && entry?.kind === 'value') noted.set(command.key, command.token);
        const result = applyCommand(entry, command, nowMs);
        if (command.kind !== 'invalidate' || result.entry?.kind !== 'hole') return result;
        const reservation = noted.get(command.key) ?? result.entry.reservation;
        return { ...result, entry: { ...result.entry, reservation } };
      };
    })(),
  ),
  flawed(
    'an invalidation deletes',
    ['rule 3: an invalidation above the value', "rule 3: an invalidation raises a hole's floor"],
    except((entry, command) =>
      command.kind === 'invalidate' && entry !== undefined
        ? { entry: undefined, reply: { kind: 'invalidate', outcome: 'floored' } }
        : undefined,
    ),
  ),
  flawed(
    'an invalidation at the value’s own version makes a hole',
    ['rule 3: an invalidation at or below the value'],
    (entry, command, nowMs) => {
      const raise =
        command.kind === 'invalidate' && entry?.kind === 'value' && entry.version === command.version;
      return applyCommand(entry, raise ? { ...command, version: command.version + 1 } : command, nowMs);
    },
  ),
  flawed('holeOnEmpty is ignored', ['rule 3: an invalidation of an empty key'], (entry, command, nowMs) =>
    applyCommand(entry, command.kind === 'invalidate' ? { ...command, holeOnEmpty: false } : command, nowMs),
  ),
  flawed(
    'a raised floor does not end the lease',
    [
      'rule 4: an invalidation that raises the floor ends the lease',
      'rule 4: a put that raises the floor ends the lease',
    ],
    leaving((after, before, { kind }) =>
      kind === 'invalidate' || kind === 'put' ? { ...after, lease: before.lease } : after,
    ),
  ),
  flawed(
    'a raised floor does not end the known absence',
    [
      'rule 4: an invalidation ends the known absence',
      'rule 4: a put that raises the floor ends the known absence',
    ],
    leaving((after, before, { kind }) =>
      kind === 'invalidate' || kind === 'put' ? { ...after, knownAbsent: before.knownAbsent } : after,
    ),
  ),
  flawed(
    'a raised floor ends the reservation',
    ['rule 4: a raised floor keeps the reservation'],
    leaving((after, before) => (after.floor > before.floor ? { ...after, reservation: undefined } : after)),
  ),
  flawed(
    'every invalidation ends the lease',
    ['rule 4: an invalidation that does not raise the floor'],
    leaving((after, _, { kind }) => (kind === 'invalidate' ? { ...after, lease: undefined } : after)),
  ),
  flawed(
    'a fill needs no lease',
    [
      'rule 5: a fill without a lease',
      'eviction: a fill whose lease was evicted',
      'race: a load from before a write',
    ],
    except((entry, command, nowMs) =>
      command.kind === 'fill' && entry?.kind !== 'value' && command.payload !== null
        ? { entry: valueFrom(command, nowMs), reply: { kind: 'fill', outcome: 'filled' } }
        : undefined,
    ),
  ),
  flawed(
    'a fill ignores the floor',
    ['rule 5: a fill below the floor'],
    except((entry, command, nowMs) =>
      command.kind === 'fill' && entry?.kind === 'hole' && entry.lease?.token === command.token
        ? { entry: valueFrom(command, nowMs), reply: { kind: 'fill', outcome: 'filled' } }
        : undefined,
    ),
  ),
  flawed(
    'a fill below the floor loses its lease',
    ['rule 5: a fill below the floor'],
    (entry, command, nowMs) => {
      const result = applyCommand(entry, command, nowMs);
      if (result.reply.kind !== 'fill' || result.reply.outcome !== 'below-floor') return result;
      return { ...result, entry: { ...(result.entry as HoleEntry), lease: undefined } };
    },
  ),
  flawed(
    'no row found becomes an absent value',
    ['rule 5: no row found is a known absence', 'rule 4: a put that raises the floor ends the known absence'],
    except((entry, command, nowMs) =>
      command.kind === 'fill' &&
      command.payload === null &&
      entry?.kind === 'hole' &&
      entry.lease !== undefined
        ? { entry: valueFrom(command, nowMs), reply: { kind: 'fill', outcome: 'filled' } }
        : undefined,
    ),
  ),
  flawed(
    'a lease is granted to everybody',
    ['rule 6: a lease is for one reader', 'race: of many readers'],
    (entry, command, nowMs) =>
      applyCommand(
        command.kind === 'lease' && entry?.kind === 'hole' ? { ...entry, lease: undefined } : entry,
        command,
        nowMs,
      ),
  ),
  flawed('a lease is never taken over', ['rule 6: a lease may be taken over'], (entry, command, nowMs) =>
    applyCommand(entry, command.kind === 'lease' ? { ...command, leaseMs: 1e9 } : command, nowMs),
  ),
  flawed('a stranger may release', ['rule 6: a released lease is free at once'], (entry, command, nowMs) =>
    applyCommand(
      command.kind === 'release' && entry?.kind === 'hole' ? { ...entry, lease: undefined } : entry,
      command,
      nowMs,
    ),
  ),
  flawed('values do not expire', ['rule 6: a value expires'], (entry, command, nowMs) =>
    applyCommand(entry, 'ttlMs' in command ? { ...command, ttlMs: 1e9 } : command, nowMs),
  ),
  flawed('holes do not expire', ['rule 6: a hole expires'], (entry, command, nowMs) =>
    applyCommand(entry, 'holeTtlMs' in command ? { ...command, holeTtlMs: 1e9 } : command, nowMs),
  ),
  flawed(
    'a refresh replaces a hole',
    ['refresh: replaces a value'],
    except((entry, command, nowMs) =>
      command.kind === 'refresh' && entry?.kind !== 'value'
        ? { entry: valueFrom(command, nowMs), reply: { kind: 'refresh', outcome: 'stored' } }
        : undefined,
    ),
  ),
  flawed(
    'a refresh replaces another value than it was to',
    ['refresh: with `unchanged`', 'rule 9: a list of ended tags'],
    (entry, command, nowMs) => {
      if (command.kind !== 'refresh') return applyCommand(entry, command, nowMs);
      const { unchanged: _, ...blind } = command;
      return applyCommand(entry, blind, nowMs);
    },
  ),
  flawed(
    'a tag is given another token each time',
    ['rule 9: a tag keeps its token'],
    (entry, command, nowMs) => applyCommand(command.kind === 'tag' ? undefined : entry, command, nowMs),
  ),
  flawed(
    'a tag command that comes twice brings its token back',
    ['rule 9: an invalidation ends a tag'],
    (entry, command, nowMs) => applyCommand(entry, command, command.kind === 'tag' ? 1e12 : nowMs),
  ),
  flawed(
    'a tag leaves a hole as it is',
    ['rule 9: a hole, and what is no token'],
    except((entry, command) =>
      command.kind === 'tag' && entry?.kind === 'hole'
        ? { entry, reply: { kind: 'tag', token: undefined } }
        : undefined,
    ),
  ),
  flawed(
    'an intent is a mere reservation',
    ['rule 7: an intent turns a value into a hole', 'rule 7: readers pass by'],
    (entry, command, nowMs) =>
      applyCommand(entry, command.kind === 'intend' ? { ...command, kind: 'reserve' } : command, nowMs),
  ),
  flawed(
    'a put is stored beside the intents of others',
    ['rule 7: of two intents only the last put', 'rule 7: an intent that ran out beside another'],
    (entry, command, nowMs) => {
      if (command.kind !== 'put' || entry?.kind !== 'hole') return applyCommand(entry, command, nowMs);
      const intents = entry.intents.filter(({ token }) => token === command.token);
      return applyCommand({ ...entry, intents }, command, nowMs);
    },
  ),
  flawed(
    'an intent that ran out is forgotten beside another',
    ['rule 7: an intent that ran out beside another'],
    (entry, command, nowMs) => {
      if (entry?.kind !== 'hole') return applyCommand(entry, command, nowMs);
      const intents = entry.intents.filter(({ untilMs }) => untilMs > nowMs);
      return applyCommand({ ...entry, intents }, command, nowMs);
    },
  ),
  flawed(
    'intents that ran out stand for ever',
    ['rule 7: once the last intent has run out'],
    (entry, command, nowMs) =>
      applyCommand(entry, command.kind === 'intend' ? { ...command, deadlineMs: 1e8 } : command, nowMs),
  ),
  flawed(
    'intents that ran out leave no mark',
    ['rule 7: who gets the lease behind an intent', 'rule 7: a later intent that is released'],
    (entry, command, nowMs) => {
      if (entry?.kind !== 'hole' || entry.intents.some(({ untilMs }) => untilMs > nowMs)) {
        return applyCommand(entry, command, nowMs);
      }
      return applyCommand({ ...entry, intents: [] }, command, nowMs);
    },
  ),
  flawed(
    'a later intent wipes the mark of those that ran out away',
    ['rule 7: a later intent that is released leaves the mark'],
    (entry, command, nowMs) => {
      const result = applyCommand(entry, command, nowMs);
      if (command.kind !== 'intend' || result.entry?.kind !== 'hole') return result;
      const intents = result.entry.intents.filter(({ untilMs }) => untilMs > 0);
      return { ...result, entry: { ...result.entry, intents } };
    },
  ),
  flawed(
    'the mark of intents that ran out keeps a later put from becoming the value',
    ['rule 7: a later intent that is released leaves the mark of one that ran out, and its put'],
    (entry, command, nowMs) => {
      if (command.kind !== 'put' || entry?.kind !== 'hole') return applyCommand(entry, command, nowMs);
      const intents = entry.intents.map((each) => (each.untilMs > 0 ? each : { ...each, token: 'mark' }));
      return applyCommand({ ...entry, intents }, command, nowMs);
    },
  ),
  flawed(
    'a known absence keeps the mark of intents that ran out',
    ['rule 7: a known absence that was filled behind an intent'],
    leaving((after, before, { kind }) => (kind === 'fill' ? { ...after, intents: before.intents } : after)),
  ),
  flawed(
    'of overlapping unversioned writes the last is stored',
    ['rule 7, unversioned: overlapping writes', 'rule 7, unversioned: an invalidation meanwhile'],
    (entry, command, nowMs) => {
      if (entry?.kind !== 'hole') return applyCommand(entry, command, nowMs);
      const intents = entry.intents.map((intent) => ({ ...intent, overlapped: false }));
      return applyCommand({ ...entry, intents }, command, nowMs);
    },
  ),
  wrapped('nobody says for how long it has kept anything', ['kept: every primary'], () => ({
    kept: async () => new Map(),
  })),
  wrapped('the time that a cache has kept things stands still', ['kept: every primary'], () => ({
    kept: async () => new Map([['', 5]]),
  })),
  flawed('versions lose digits', ['version: numbers up to half a minute ahead'], (entry, command, nowMs) =>
    applyCommand(entry, lossy(command), nowMs),
  ),
  flawed(
    'a version beyond belief is taken for the highest one believed',
    ['version: one that is far ahead of the clock'],
    (entry, command, nowMs) => {
      if (!('version' in command)) return applyCommand(entry, command, nowMs);
      return applyCommand(
        entry,
        { ...command, version: Math.min(command.version, believedUpTo(nowMs)) },
        nowMs,
      );
    },
  ),
  flawed(
    'an absence is an empty payload',
    ['payload: an absence is not an empty payload'],
    (entry, command, nowMs) =>
      applyCommand(
        entry,
        command.kind === 'put' ? { ...command, payload: command.payload ?? '' } : command,
        nowMs,
      ),
  ),
  flawed('text is cut at a NUL', ['payload: text comes back exactly: NUL'], (entry, command, nowMs) => {
    if (!('payload' in command) || typeof command.payload !== 'string')
      return applyCommand(entry, command, nowMs);
    const payload = command.payload.split('\0')[0] ?? '';
    return applyCommand(entry, { ...command, payload }, nowMs);
  }),
  flawed(
    'bytes are read as UTF-8',
    ['payload: binary comes back exactly: every byte'],
    (entry, command, nowMs) => {
      if (!('payload' in command) || !(command.payload instanceof Uint8Array)) {
        return applyCommand(entry, command, nowMs);
      }
      const payload = Buffer.from(new TextDecoder().decode(command.payload));
      return applyCommand(entry, { ...command, payload }, nowMs);
    },
  ),
  flawed(
    'a flush takes the mark of any version away',
    ['rule 8: the flush of another version'],
    except((entry, command, nowMs) =>
      command.kind === 'flushed' && entry?.kind === 'value' && entry.unflushed
        ? applyCommand(entry, { ...command, version: entry.version }, nowMs)
        : undefined,
    ),
  ),
  flawed(
    'a put below a buffered write takes its mark away',
    ['rule 8: a put below a buffered write'],
    except((entry, command, nowMs) => {
      if (command.kind !== 'put' || entry?.kind !== 'value' || command.version >= entry.version)
        return undefined;
      return applyCommand({ ...entry, unflushed: false }, command, nowMs);
    }),
  ),
  flawed(
    'a write is buffered on nothing',
    ['rule 8: an empty key takes no buffered write', 'rule 8: a hole takes no buffered write'],
    except((entry, command, nowMs) => {
      if (command.kind !== 'buffer' || entry?.kind === 'value') return undefined;
      const base = { kind: 'value', version: 1, payload: null, staleAtMs: 0, unflushed: false } as const;
      return applyCommand({ ...base, expiresAtMs: nowMs + 1 }, command, nowMs);
    }),
  ),
  flawed(
    'a buffered write expires',
    ['rule 8: a buffered write outlives'],
    except((entry, command, nowMs) => {
      if (command.kind !== 'buffer') return undefined;
      const result = applyCommand(entry, command, nowMs);
      if (result.reply.kind !== 'buffer' || result.reply.outcome !== 'buffered') return result;
      return { ...result, entry: result.entry && { ...result.entry, expiresAtMs: nowMs + 20 } };
    }),
  ),
  flawed(
    'a buffered write is numbered by the clock alone',
    ['rule 8: where the value is ahead of the clock'],
    except((entry, command, nowMs) =>
      command.kind === 'buffer' && entry?.kind === 'value' && entry.version > 0
        ? applyCommand({ ...entry, version: 1 }, command, nowMs)
        : undefined,
    ),
  ),
  flawed(
    'buffered writes are numbered evenly',
    ['rule 8: a buffered write is numbered oddly'],
    except((entry, command, nowMs) => {
      if (command.kind !== 'buffer') return undefined;
      const result = applyCommand(entry, command, nowMs);
      if (result.reply.kind !== 'buffer' || result.reply.outcome !== 'buffered') return result;
      const version = result.reply.version + 1;
      const after = result.entry as ValueEntry;
      return { entry: { ...after, version }, reply: { ...result.reply, version } };
    }),
  ),
  flawed(
    'a buffered write is taken however late it comes',
    ['rule 8: a command that comes after its deadline'],
    except((entry, command, nowMs) =>
      command.kind === 'buffer'
        ? applyCommand(entry, { ...command, notAfterMs: Number.POSITIVE_INFINITY }, nowMs)
        : undefined,
    ),
  ),
  flawed(
    'an intent hides a buffered write',
    ['rule 8: an intent is not noted on a buffered write'],
    except((entry, command, nowMs) =>
      command.kind === 'intend' && entry?.kind === 'value'
        ? applyCommand({ ...entry, unflushed: false }, command, nowMs)
        : undefined,
    ),
  ),
  flawed(
    'an invalidation of unknown version drops a buffered write',
    ['rule 8: an invalidation of unknown'],
    except((entry, command, nowMs) =>
      command.kind === 'invalidate' && command.version === 0 && entry?.kind === 'value'
        ? applyCommand({ ...entry, unflushed: false }, command, nowMs)
        : undefined,
    ),
  ),
  wrapped('the index drops a key that was added again', ['index: a removal takes a key unless'], (cache) => ({
    ...indexOf(cache, ({ list, remove }) => ({
      async remove(index, keys) {
        const held = await list(index, 0, Number.MAX_SAFE_INTEGER);
        await remove(
          index,
          held.filter(({ key }) => keys.some((one) => one.key === key)),
        );
      },
    })),
  })),
  wrapped('the index takes keys without a bound', ['index: a full one takes no new keys'], (cache) => ({
    ...indexOf(cache, ({ add }) => ({
      add: (index, keys) => add(index, keys, Number.MAX_SAFE_INTEGER),
    })),
  })),
  wrapped('commands of one call run in any order', ['batch: commands of one call'], (cache) => ({
    execute: async (commands) => (await cache.execute([...commands].reverse())).toReversed(),
  })),
  wrapped('repeated keys are answered once', ['batch: one call reads'], (cache) => ({
    read: (keys, encoding) => cache.read([...new Set(keys)], encoding),
  })),
  wrapped('scan leaves out holes', ['scan:'], (cache) => ({
    async *scan(prefix, encoding) {
      for await (const entry of cache.scan(prefix, encoding)) if (entry.state === 'value') yield entry;
    },
  })),
  wrapped('close does nothing', ['close:'], () => ({ close: async () => {} })),
  wrapped('a shared cache without a second client', ['claims:'], () => ({ shared: true })),
];
