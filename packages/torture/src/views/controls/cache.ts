import type { CacheAdapter, CacheCommand, CacheHit } from '@lockstep/core';
import type { ViewsControl } from './names.js';

/** The cache with the control's rule taken out; the cache itself where the rule is none of its. */
export function controlledViewsCache(cache: CacheAdapter, control: ViewsControl | undefined): CacheAdapter {
  if (control === 'tokens-after-load') return replaced(cache, { execute: withLateTokens(cache) });
  if (control === 'missing-unchanged') return replaced(cache, { read: withLastTokens(cache) });
  if (control === 'old-generation')
    return replaced(cache, { probe: (prefix) => withoutGeneration(cache, prefix) });
  return cache;
}

function replaced(cache: CacheAdapter, members: Partial<CacheAdapter>): CacheAdapter {
  return new Proxy(cache, {
    get(target, name) {
      const member: unknown = Reflect.get(name in members ? members : target, name);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
}

async function withoutGeneration(cache: CacheAdapter, prefix: string): ReturnType<CacheAdapter['probe']> {
  const probes = await cache.probe(prefix);
  return new Map(
    [...probes].map(([primary, probe]) => [
      primary,
      probe instanceof Error ? probe : { ...probe, generation: undefined },
    ]),
  );
}

/** The tokens in an entry become those that are there when it is put. */
function withLateTokens(cache: CacheAdapter): CacheAdapter['execute'] {
  const tags = new Map<string, Extract<CacheCommand, { kind: 'tag' }>>();
  async function late(command: CacheCommand): Promise<CacheCommand> {
    if (command.kind !== 'fill' || command.payload === null) return command;
    // One character for each byte.
    let text = Buffer.from(command.payload as Uint8Array).toString('latin1');
    const old = [...new Set(text.match(/[^\s"]+/g) ?? [])].filter((token) => tags.has(token));
    const asked = old.map((token) => ({ ...(tags.get(token) as CacheCommand), token: `${token}~` }));
    const replies = asked.length === 0 ? [] : await cache.execute(asked as CacheCommand[]);
    for (const [i, reply] of replies.entries()) {
      if (reply instanceof Error || reply.kind !== 'tag' || reply.token === undefined) continue;
      text = text.replaceAll(old[i] as string, reply.token);
    }
    const payload = Buffer.from(text, 'latin1');
    return { ...command, payload: typeof command.payload === 'string' ? payload.toString() : payload };
  }
  return async (commands) => {
    const replies = await cache.execute(await Promise.all(commands.map(late)));
    for (const [i, command] of commands.entries()) {
      const reply = replies[i];
      if (command.kind !== 'tag' || reply instanceof Error || reply?.kind !== 'tag') continue;
      if (reply.token !== undefined) tags.set(reply.token, command);
    }
    return replies;
  };
}

/** A tag that is missing has the token that this process has seen last. */
function withLastTokens(cache: CacheAdapter): CacheAdapter['read'] {
  const last = new Map<string, CacheHit>();
  return async (keys, encoding) => {
    const hits = await cache.read(keys, encoding);
    return hits.map((hit, i) => {
      const key = keys[i] as string;
      if (!key.includes('%t:') || hit instanceof Error) return hit;
      if (hit !== undefined) last.set(key, hit);
      return hit ?? last.get(key);
    });
  };
}
