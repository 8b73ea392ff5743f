import {
  applyCommand,
  type CacheCommand,
  type CacheHit,
  type CacheReply,
  type Entry,
  hitOf,
  type Payload,
  type PayloadEncoding,
  type Version,
} from '@lockstep/core';
import fc from 'fast-check';
import { expectEqual, expectThat } from '../kit/expect.js';
import { type CacheCase, type CacheContext, LONG_MS } from './context.js';

const KEYS = 3;
const TOKENS = 4;

const key = fc.nat({ max: KEYS - 1 }).map(String);
const token = fc.nat({ max: TOKENS - 1 }).map(String);
/** Beyond belief. */
const top = Number.MAX_SAFE_INTEGER;
const version = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 1, max: 8 }) },
  { weight: 1, arbitrary: fc.integer({ min: top - 4, max: top }) },
);
const anyVersion = fc.oneof({ weight: 6, arbitrary: version }, { weight: 1, arbitrary: fc.constant(0) });

/** Run out by the next call of a timed sequence, in ms. */
const SHORT_MS = 1;

/** The time between two calls of a timed sequence, in ms: more than `SHORT_MS` by any server's clock. */
const STEP_MS = 5;

/** Timed sequences wait in real time where the cache has a clock of its own. */
const MAX_TIMED_RUNS = 50;

function commands(encoding: PayloadEncoding, times: readonly number[]): fc.Arbitrary<CacheCommand> {
  const time = fc.constantFrom(...times);
  const holeTtlMs = time;
  const ttl = { ttlMs: time, staleAtMs: fc.constantFrom(0, 1_893_456_000_123) };
  const payload =
    encoding === 'utf8' ? fc.string({ unit: 'grapheme', maxLength: 12 }) : fc.uint8Array({ maxLength: 12 });
  const row = fc.oneof({ weight: 4, arbitrary: payload }, { weight: 1, arbitrary: fc.constant(null) });
  const unchanged = fc.record({ version: anyVersion, payload: row, staleAtMs: ttl.staleAtMs });
  const put = fc.record({
    kind: fc.constant('put'),
    key,
    version: anyVersion,
    payload: row,
    ...ttl,
    holeTtlMs,
  });
  return fc.oneof(
    fc.record({ kind: fc.constant('reserve'), key, token, holeTtlMs }),
    fc.record({ kind: fc.constant('intend'), key, token, deadlineMs: time, holeTtlMs }),
    fc.tuple(put, fc.option(token, { nil: undefined })).map(([command, own]) => ({ ...command, token: own })),
    fc.record({ kind: fc.constant('refresh'), key, version, payload, ...ttl }),
    fc.record({ kind: fc.constant('refresh'), key, version, payload, ...ttl, unchanged }),
    fc.record({
      kind: fc.constant('invalidate'),
      key,
      version: anyVersion,
      holeTtlMs,
      holeOnEmpty: fc.boolean(),
    }),
    fc.record({
      kind: fc.constant('lease'),
      key,
      token,
      leaseMs: time,
      holeTtlMs,
      encoding: fc.constant(encoding),
    }),
    fc.oneof(
      fc.record({ kind: fc.constant('fill'), key, token, version, payload, ...ttl }),
      fc.record({
        kind: fc.constant('fill'),
        key,
        token,
        version: fc.constant(0),
        payload: fc.constant(null),
        ...ttl,
      }),
    ),
    fc.record({ kind: fc.constant('release'), key, token }),
    fc.record({ kind: fc.constant('tag'), key, token, ttlMs: time }),
  );
}

const FAR_MS = 8_000_000_000_000;

/** @param base believed by any clock and reached by none: two clocks number a buffered write alike above it */
function bufferedCommands(base: Version): fc.Arbitrary<CacheCommand> {
  const ahead = fc.integer({ min: base, max: base + 24 });
  const others = commands('utf8', [LONG_MS]).map((command) =>
    'version' in command && command.version > 0
      ? { ...command, version: base + (command.version % 24) }
      : command,
  );
  return fc.oneof(
    { weight: 3, arbitrary: others },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('buffer'),
        key,
        payload: fc.option(fc.string({ unit: 'grapheme', maxLength: 12 }), { nil: null }),
        notAfterMs: fc.oneof(
          { weight: 6, arbitrary: fc.constant(FAR_MS) },
          { weight: 1, arbitrary: fc.constant(1) },
        ),
        durable: fc.constant(false),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('flushed'),
        key,
        version: ahead,
        outcome: fc.constantFrom('stored', 'refused'),
        ttlMs: fc.constant(LONG_MS),
        staleAtMs: fc.constantFrom(0, 1_893_456_000_123),
        holeTtlMs: fc.constant(LONG_MS),
      }),
    },
  );
}

function plainHit(hit: CacheHit | Error | undefined): unknown {
  if (hit === undefined || hit instanceof Error) return hit;
  const { version, payload, staleAtMs, unflushed = false } = hit;
  // The engine judges what it reads: a cache may answer with what is not to be believed.
  if (version >= top - 4) return undefined;
  return { version, payload: untimed(payload), staleAtMs, unflushed };
}

/** A payload in a form that two clocks agree on: a tag's token ends with the time when it was made. */
function untimed(payload: Payload | null): unknown {
  if (typeof payload === 'string') return payload.replace(/^(\d)@\d{10,}$/, '$1@');
  if (payload === null) return null;
  const text = Buffer.from(payload).toString('latin1');
  return /^\d@\d{10,}$/.test(text) ? untimed(text) : [...payload];
}

/** A reply in a form that two clocks agree on. */
function plainReply(reply: CacheReply | Error): unknown {
  if (reply instanceof Error) return reply;
  if (reply.kind === 'tag') return { ...reply, token: untimed(reply.token ?? null) };
  if (reply.kind !== 'lease') return reply;
  if (reply.outcome === 'hit') return { ...reply, hit: plainHit(reply.hit) };
  if (reply.outcome !== 'busy') return reply;
  expectThat(
    reply.remainingMs > 0 && reply.remainingMs <= LONG_MS,
    `remainingMs must be within the lease, got ${reply.remainingMs}`,
  );
  return { ...reply, remainingMs: 'within the lease' };
}

/**
 * A put beyond belief over a row that is beyond belief may be stored or make a hole: no reader gets either. Such a put
 * gets a version of the usual ones. `beyond`: keys that may hold such a row.
 */
function settledPut(command: CacheCommand, beyond: Set<string>): CacheCommand {
  if (!('version' in command) || command.version < top - 4 || command.kind === 'invalidate') return command;
  if (command.kind === 'put' && beyond.has(command.key)) {
    return { ...command, version: 1 + (command.version % 8) };
  }
  beyond.add(command.key);
  return command;
}

async function compare(
  c: CacheContext,
  calls: readonly (readonly CacheCommand[])[],
  encoding: PayloadEncoding,
  stepMs: number,
): Promise<void> {
  const start = c.key();
  const model = new Map<string, Entry>();
  const beyond = new Set<string>();
  let nowMs = (await c.ahead()) / 1_000 - 12 * LONG_MS;
  for (const call of calls) {
    const named = call.map((command) => settledPut({ ...command, key: `${start}:${command.key}` }, beyond));
    const expected = named.map((command) => {
      const { entry, reply } = applyCommand(model.get(command.key), command, nowMs);
      model.set(command.key, entry);
      return plainReply(reply);
    });
    const replies = await c.cache.execute(named);
    expectEqual(replies.map(plainReply), expected, `the replies to ${JSON.stringify(named)}`);
    if (stepMs > 0) await c.pass(stepMs);
    nowMs += stepMs;
  }
  const keys = Array.from({ length: KEYS }, (_, index) => `${start}:${index}`);
  const hits = await c.cache.read(keys, encoding);
  const expected = keys.map((name) => {
    const entry = model.get(name);
    return plainHit(hitOf(entry === undefined || entry.expiresAtMs <= nowMs ? undefined : entry));
  });
  expectEqual(hits.map(plainHit), expected, 'what readers get at the end');
}

async function check(runs: number, property: fc.IAsyncProperty<[CacheCommand[][]]>): Promise<void> {
  const { FAST_CHECK_SEED: seed } = process.env;
  await fc.assert(property, { numRuns: runs, ...(seed === undefined ? {} : { seed: Number(seed) }) });
}

/** Any sequence of commands does what the reference does. `FAST_CHECK_SEED` repeats a run. */
export function differentialCases(test: CacheCase, runs: number, buffers: boolean): void {
  for (const encoding of ['utf8', 'binary'] as const) {
    test(`reference: random ${encoding} command sequences get the reference's replies and leave its entries (rules 1-7, 9)`, async (c) => {
      const calls = fc.array(fc.array(commands(encoding, [LONG_MS]), { minLength: 1, maxLength: 5 }), {
        minLength: 1,
        maxLength: 14,
        size: 'max',
      });
      await check(
        runs,
        fc.asyncProperty(calls, (sequence) => compare(c, sequence, encoding, 0)),
      );
    });
  }

  if (buffers) {
    test("reference: random sequences with buffered writes get the reference's replies and leave its entries (rule 8)", async (c) => {
      const calls = fc.array(fc.array(bufferedCommands(await c.ahead()), { minLength: 1, maxLength: 5 }), {
        minLength: 1,
        maxLength: 14,
        size: 'max',
      });
      await check(
        runs,
        fc.asyncProperty(calls, (sequence) => compare(c, sequence, 'utf8', 0)),
      );
    });
  }

  test('reference: leases, intents and entries that run out do so as in the reference (rules 6, 7)', async (c) => {
    const calls = fc.array(fc.array(commands('utf8', [SHORT_MS, LONG_MS]), { minLength: 1, maxLength: 1 }), {
      minLength: 1,
      maxLength: 20,
      size: 'max',
    });
    await check(
      Math.min(runs, MAX_TIMED_RUNS),
      fc.asyncProperty(calls, (sequence) => compare(c, sequence, 'utf8', STEP_MS)),
    );
  });
}
