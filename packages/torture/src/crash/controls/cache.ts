import type { BufferCommand, CacheAdapter, CacheCommand, CacheReply } from '@lockstep/core';
import { Entries } from './entries.js';
import type { ControlName } from './names.js';

/** How long an unflushed entry lives where nothing keeps it: about as long as it takes to be flushed. */
const EVICTED_MS = 150;
const HOLE_TTL_MS = 60_000;
const FOR_EVER_MS = 3_600_000;

type Execute = CacheAdapter['execute'];

/** The cache with the control's rule taken out; the cache itself where the rule is none of its. */
export function controlledCache(
  cache: CacheAdapter,
  url: string,
  control: ControlName | undefined,
): CacheAdapter {
  const make = control === undefined ? undefined : CONTROLLED[control];
  if (make === undefined) return cache;
  const entries = new Entries(url);
  const execute = make(cache, entries);
  return new Proxy(cache, {
    get(target, name) {
      if (name === 'execute') return execute;
      if (name === 'close') {
        return async () => {
          entries.close();
          await target.close();
        };
      }
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
}

const CONTROLLED: Partial<Record<ControlName, (cache: CacheAdapter, entries: Entries) => Execute>> = {
  'flushed-clears-any': (cache) => async (commands) => {
    const at = await unflushedAt(cache, commands, 'flushed');
    return await cache.execute(
      commands.map((command) => {
        const version = command.kind === 'flushed' ? at.get(command.key) : undefined;
        return version === undefined ? command : ({ ...command, version } as CacheCommand);
      }),
    );
  },
  'put-clears-unflushed': (cache) => async (commands) => {
    const at = await unflushedAt(cache, commands, 'put');
    const clearing = [...at].map(([key, version]): CacheCommand => {
      const expiry = { ttlMs: FOR_EVER_MS, staleAtMs: 0, holeTtlMs: HOLE_TTL_MS };
      return { kind: 'flushed', key, version, outcome: 'stored', ...expiry };
    });
    if (clearing.length > 0) await cache.execute(clearing);
    return await cache.execute(commands);
  },
  'buffer-on-empty': (cache) => async (commands) => {
    const replies = await cache.execute(commands);
    return await Promise.all(
      replies.map(async (reply, i) => {
        const command = commands[i] as CacheCommand;
        if (command.kind !== 'buffer' || command.payload === null) return reply;
        if (reply instanceof Error || reply.kind !== 'buffer' || reply.outcome !== 'unfit') return reply;
        return await buffered(cache, command, reply);
      }),
    );
  },
  'clock-only-version': (cache, entries) => renumbered(cache, entries, () => 'clock'),
  'shared-numbers': (cache, entries) => renumbered(cache, entries, (version) => version - 1),
  evictable: (cache, entries) => async (commands) => {
    const replies = await cache.execute(commands);
    await Promise.all(
      commands.map(({ key }, i) => (isBuffered(replies[i]) ? entries.expire(key, EVICTED_MS) : undefined)),
    );
    return replies;
  },
  'late-command': (cache) => (commands) =>
    cache.execute(
      commands.map((command) =>
        command.kind === 'buffer' ? { ...command, notAfterMs: Date.now() + FOR_EVER_MS } : command,
      ),
    ),
};

/** The versions of the unflushed entries that commands of a kind are about. */
async function unflushedAt(
  cache: CacheAdapter,
  commands: readonly CacheCommand[],
  kind: CacheCommand['kind'],
): Promise<Map<string, number>> {
  const keys = commands.filter((command) => command.kind === kind).map(({ key }) => key);
  const found = new Map<string, number>();
  if (keys.length === 0) return found;
  const hits = await cache.read(keys, 'binary');
  keys.forEach((key, i) => {
    const hit = hits[i];
    if (hit !== undefined && !(hit instanceof Error) && hit.unflushed === true) found.set(key, hit.version);
  });
  return found;
}

/** Makes the hole a value of the lowest version that it takes, and buffers on top of that. */
async function buffered(
  cache: CacheAdapter,
  command: BufferCommand,
  refused: CacheReply,
): Promise<CacheReply | Error> {
  const { key, payload } = command;
  const token = `control-${process.pid}-${Math.random()}`;
  const [lease] = await cache.execute([
    { kind: 'lease', key, token, leaseMs: 1_000, holeTtlMs: HOLE_TTL_MS, encoding: 'binary' },
  ]);
  if (lease === undefined || lease instanceof Error || lease.kind !== 'lease') return refused;
  if (lease.outcome !== 'granted') return refused;
  const version = Math.max(2, lease.floor);
  const [, reply] = await cache.execute([
    { kind: 'fill', key, token, version, payload, ttlMs: FOR_EVER_MS, staleAtMs: 0 },
    command,
  ]);
  return reply ?? refused;
}

/** Gives what was buffered another version, before its writer hears of it. */
function renumbered(
  cache: CacheAdapter,
  entries: Entries,
  to: (version: number) => number | 'clock',
): Execute {
  return async (commands) => {
    const replies = await cache.execute(commands);
    return await Promise.all(
      replies.map(async (reply, i) => {
        if (!isBuffered(reply)) return reply;
        const { key } = commands[i] as CacheCommand;
        return { ...reply, version: await entries.renumber(key, reply.version, to(reply.version)) };
      }),
    );
  };
}

function isBuffered(
  reply: CacheReply | Error | undefined,
): reply is Extract<CacheReply, { kind: 'buffer'; outcome: 'buffered' }> {
  if (reply === undefined || reply instanceof Error) return false;
  return reply.kind === 'buffer' && reply.outcome === 'buffered';
}
