/** Steps that the cases of buffered writes share. */
import type {
  BufferCommand,
  BufferReply,
  FlushedCommand,
  FlushedReply,
  InvalidateReply,
  Payload,
  UnflushedIndex,
  Version,
} from '@lockstep/core';
import { expectEqual, expectThat } from '../kit/expect.js';
import { type CacheContext, LONG_MS, payloadOf, run } from './context.js';

/** A lifetime that cases wait out, in ms. */
export const SHORT_MS = 30;

export function indexOf(c: CacheContext): UnflushedIndex {
  const { unflushed } = c.cache;
  expectThat(unflushed !== undefined, 'cache.unflushed must be there');
  return unflushed;
}

/** The cache's own clock, in ms. */
export async function clockOf(c: CacheContext): Promise<number> {
  return (await indexOf(c).add(c.key(), [], 1)).nowMs;
}

export function bufferCommand(key: string, notAfterMs: number, payload: Payload | null): BufferCommand {
  return { kind: 'buffer', key, payload, notAfterMs, durable: false };
}

export async function buffer(
  c: CacheContext,
  key: string,
  payload: Payload | null = 'new',
): Promise<BufferReply> {
  return run(c.cache, bufferCommand(key, (await clockOf(c)) + LONG_MS, payload));
}

/** Buffers a write that must be taken: its version. */
export async function buffered(c: CacheContext, key: string, payload?: Payload | null): Promise<Version> {
  const reply = await buffer(c, key, payload);
  expectThat(reply.outcome === 'buffered', `the write must be buffered, but is ${reply.outcome}`);
  return reply.version;
}

export async function flushed(
  c: CacheContext,
  key: string,
  version: Version,
  more: Partial<FlushedCommand> = {},
): Promise<FlushedReply['outcome']> {
  const times = { ttlMs: LONG_MS, staleAtMs: 0, holeTtlMs: LONG_MS };
  const command: FlushedCommand = { kind: 'flushed', key, version, outcome: 'stored', ...times, ...more };
  return (await run(c.cache, command)).outcome;
}

/** Fails unless readers get this buffered write. */
export async function expectUnflushed(
  c: CacheContext,
  key: string,
  version: Version,
  payload: Payload | null = 'new',
): Promise<void> {
  await c.expectHit(key, version, payload);
  expectEqual((await c.hit(key))?.unflushed, true, 'the mark of a buffered write');
}

/** Fails unless readers get this version, and it is no buffered write any more. */
export async function expectFlushed(
  c: CacheContext,
  key: string,
  version: Version,
  payload: Payload | null = payloadOf(version),
): Promise<void> {
  await c.expectHit(key, version, payload);
  expectThat((await c.hit(key))?.unflushed !== true, 'the mark of a buffered write must be gone');
}

/** A key with a buffered write. */
export async function unflushedKey(c: CacheContext): Promise<{ key: string; version: Version }> {
  const key = c.key();
  await c.setValue(key, 10);
  return { key, version: await buffered(c, key) };
}

export function invalidate(c: CacheContext, key: string, version: Version): Promise<InvalidateReply> {
  return run(c.cache, { kind: 'invalidate', key, version, holeTtlMs: LONG_MS, holeOnEmpty: false });
}
