import { randomUUID } from 'node:crypto';
import type { CacheAdapter, CacheCommand, CacheHit, Payload, PutReply, ReplyOf } from '@lockstep/core';

/** Never runs out within a test. */
export const LONG_MS = 3_600_000;

export function newKey(): string {
  return `wtc:test:${randomUUID()}`;
}

export async function run<C extends CacheCommand>(cache: CacheAdapter, command: C): Promise<ReplyOf<C>> {
  const [reply] = await cache.execute([command]);
  if (reply instanceof Error) throw reply;
  return reply as ReplyOf<C>;
}

export function put(
  key: string,
  version: number,
  payload: Payload | null = `row ${version}`,
): Extract<CacheCommand, { kind: 'put' }> {
  return {
    kind: 'put',
    key,
    token: undefined,
    version,
    payload,
    ttlMs: LONG_MS,
    staleAtMs: 0,
    holeTtlMs: LONG_MS,
  };
}

export function reserve(key: string, token: string): Extract<CacheCommand, { kind: 'reserve' }> {
  return { kind: 'reserve', key, token, holeTtlMs: LONG_MS };
}

export function invalidate(key: string, version: number): Extract<CacheCommand, { kind: 'invalidate' }> {
  return { kind: 'invalidate', key, version, holeTtlMs: LONG_MS, holeOnEmpty: false };
}

/** Makes the entry a value by a reserved put. */
export async function setValue(
  cache: CacheAdapter,
  key: string,
  version: number,
  payload?: Payload,
): Promise<PutReply> {
  const token = randomUUID();
  await run(cache, reserve(key, token));
  return run(cache, { ...put(key, version, payload), token });
}

export async function hit(cache: CacheAdapter, key: string): Promise<CacheHit | undefined> {
  const [found] = await cache.read([key], 'utf8');
  if (found instanceof Error) throw found;
  return found;
}
