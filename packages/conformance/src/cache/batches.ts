import type { CacheCommand } from '@lockstep/core';
import { expectEqual, expectRejection, expectThat } from '../kit/expect.js';
import { type CacheCase, LONG_MS, payloadOf, runAll } from './context.js';

const put = { kind: 'put', token: undefined, ttlMs: LONG_MS, staleAtMs: 0, holeTtlMs: LONG_MS } as const;

/** Many keys and commands per call, `scan`, `info`, `close`. */
export function batchCases(test: CacheCase): void {
  test('batch: nothing asked is nothing answered', async (c) => {
    expectEqual([...(await c.cache.read([], 'utf8'))], [], 'read of no keys');
    expectEqual([...(await c.cache.execute([]))], [], 'execute of no commands');
  });

  test('batch: one call reads hits, holes and empty keys position by position, repeated keys included', async (c) => {
    const [value, hole, empty, absent, token] = [c.key(), c.key(), c.key(), c.key(), c.token()];
    await c.setValue(value, 10);
    await c.setHole(hole, 10);
    await c.lease(absent, token);
    await c.fill(absent, token, 0, null);
    const hits = await c.cache.read([hole, value, empty, absent, value], 'utf8');
    expectEqual(
      hits.map((hit) => (hit instanceof Error || hit === undefined ? hit : [hit.version, hit.payload])),
      [undefined, [10, payloadOf(10)], undefined, [0, null], [10, payloadOf(10)]],
      'the answers',
    );
  });

  test('batch: commands of one call on one key take effect in their order', async (c) => {
    const [key, writer, reader] = [c.key(), c.token(), c.token()];
    const commands: CacheCommand[] = [
      { kind: 'reserve', key, token: writer, holeTtlMs: LONG_MS },
      { ...put, key, token: writer, version: 10, payload: 'a' },
      { ...put, key, version: 12, payload: 'b' },
      { ...put, key, version: 11, payload: 'late' },
      { kind: 'invalidate', key, version: 20, holeTtlMs: LONG_MS, holeOnEmpty: false },
      { kind: 'lease', key, token: reader, leaseMs: LONG_MS, holeTtlMs: LONG_MS, encoding: 'utf8' },
      { kind: 'fill', key, token: reader, version: 18, payload: 'low', ttlMs: LONG_MS, staleAtMs: 0 },
      { kind: 'fill', key, token: reader, version: 22, payload: 'c', ttlMs: LONG_MS, staleAtMs: 0 },
    ];
    expectEqual(
      await runAll(c.cache, commands),
      [
        { kind: 'reserved', known: 0 },
        { kind: 'put', outcome: 'stored' },
        { kind: 'put', outcome: 'stored' },
        { kind: 'put', outcome: 'superseded' },
        { kind: 'invalidate', outcome: 'floored' },
        { kind: 'lease', outcome: 'granted', floor: 20 },
        { kind: 'fill', outcome: 'below-floor', floor: 20 },
        { kind: 'fill', outcome: 'filled' },
      ],
      'the replies in order',
    );
    await c.expectHit(key, 22, 'c');
  });

  test('batch: hundreds of keys in one call', async (c) => {
    const keys = Array.from({ length: 300 }, () => c.key());
    const token = c.token();
    const commands = keys.flatMap((key, index): CacheCommand[] => [
      { kind: 'reserve', key, token, holeTtlMs: LONG_MS },
      { ...put, key, token, version: 2 * index + 2, payload: `row ${index}` },
    ]);
    const replies = await runAll(c.cache, commands);
    expectThat(
      replies.every((reply, index) => reply.kind === (index % 2 === 0 ? 'reserved' : 'put')),
      'each reply must stand at its command’s position',
    );
    const hits = await c.cache.read(keys, 'utf8');
    expectEqual(
      hits.map((hit) => (hit instanceof Error ? hit : hit?.payload)),
      keys.map((_, index) => `row ${index}`),
      'the payloads read',
    );
  });

  test('scan: every value and hole under the prefix, nothing else', async (c) => {
    const start = c.key();
    const prefix = `${start}:*?[a]\\:`;
    const [value, absent, hole] = [`${prefix}value`, `${prefix}absent`, `${prefix}hole`];
    await c.setValue(value, 10);
    await c.setValue(absent, 20, null);
    await c.setHole(hole, 30);
    await c.setValue(`${start}:xyza\\:value`, 40);
    const found = new Map<string, unknown>();
    for await (const { key, version, state, payload } of c.cache.scan(prefix, 'utf8')) {
      found.set(key, { version, state, payload });
    }
    expectEqual(
      found,
      new Map([
        [value, { version: 10, state: 'value', payload: payloadOf(10) }],
        [absent, { version: 20, state: 'value', payload: null }],
        [hole, { version: 30, state: 'hole', payload: null }],
      ]),
      'what scan finds',
    );
  });

  test('scan: a position takes another scan on from there, and a foreign one begins anew', async (c) => {
    const prefix = `${c.key()}:`;
    const keys = Array.from({ length: 600 }, (_, index) => `${prefix}${index}`);
    const noted = { kind: 'reserve', token: c.token(), holeTtlMs: LONG_MS } as const;
    await runAll(
      c.cache,
      keys.map((key): CacheCommand => ({ ...noted, key })),
    );
    const seen = new Set<string>();
    let position: string | undefined;
    const at = (next: string): void => {
      position ??= next;
    };
    for await (const { key } of c.cache.scan(prefix, 'utf8', { at })) {
      if (position !== undefined) break;
      seen.add(key);
    }
    // An adapter without positions has walked to the end.
    const from = position === undefined ? {} : { from: position };
    for await (const { key } of c.cache.scan(prefix, 'utf8', from)) seen.add(key);
    expectEqual([...seen].sort(), keys.toSorted(), 'the keys of both parts');
    let count = 0;
    for await (const _ of c.cache.scan(prefix, 'utf8', { from: 'no position' })) count += 1;
    expectThat(count >= keys.length, 'a position of another cache must not hide anything');
  });

  test('inspect: what is at a key, holes included, and how long it is kept', async (c) => {
    if (c.cache.inspect === undefined) return;
    const [value, hole] = [`${c.key()}:value`, `${c.key()}:hole`];
    await c.setValue(value, 10);
    await c.setHole(hole, 30);
    const [found, floored] = [await c.cache.inspect(value, 'utf8'), await c.cache.inspect(hole, 'utf8')];
    expectEqual(
      [found?.key, found?.state, found?.version, found?.payload, floored?.state, floored?.version],
      [value, 'value', 10, payloadOf(10), 'hole', 30],
      'what inspect finds',
    );
    for (const entry of [found, floored]) {
      const { expiresInMs = Number.NaN } = entry ?? {};
      expectThat(expiresInMs > 0 && expiresInMs <= LONG_MS, `expiresInMs is ${expiresInMs}`);
    }
    expectEqual(await c.cache.inspect(c.key(), 'utf8'), undefined, 'what is at an empty key');
  });

  test('info: says whether the cache evicts, and describes it', async (c) => {
    const info = await c.cache.info();
    expectThat([true, false, undefined].includes(info.evicts), 'evicts must be true, false or undefined');
    expectThat(
      info.generation === undefined || (typeof info.generation === 'string' && info.generation.length > 0),
      'generation must be undefined or a non-empty string',
    );
    expectThat(
      typeof info.description === 'string' && info.description.length > 0,
      'description must not be empty',
    );
    expectEqual((await c.cache.info()).generation, info.generation, 'the generation, asked twice');
  });

  test('probe: every primary that holds a key proves itself, with its clock and its generation', async (c) => {
    const prefix = `${c.key()}:`;
    const probes = await c.cache.probe(prefix);
    const { generation } = await c.cache.info();
    const generations: string[] = [];
    for (const probe of probes.values()) {
      if (probe instanceof Error) throw probe;
      expectThat(probe.nowMs > 0, `nowMs must be the clock in ms, got ${probe.nowMs}`);
      if (probe.generation !== undefined) generations.push(probe.generation);
    }
    expectEqual(generations.sort().join() || undefined, generation, "the probes' generations and info()'s");
    const { cache } = c;
    const primaries = Array.from({ length: 100 }, () => cache.primaryOf?.(c.key()) ?? '');
    expectEqual(
      [...new Set(primaries)].filter((name) => !probes.has(name)),
      [],
      'primaries that hold keys and were not asked',
    );
    const key = c.key();
    await c.setValue(key, 2);
    await c.cache.probe(key);
    await c.expectHit(key, 2);
  });

  test('kept: every primary that holds a key says for how long it has kept what it was told', async (c) => {
    const prefix = `${c.key()}:`;
    const asked = performance.now();
    const least = async (): Promise<number> => {
      const times = await c.cache.kept(prefix);
      expectThat(times.size > 0, 'kept() must name at least one primary');
      const told = [...times.values()].map((time) => {
        if (time instanceof Error) throw time;
        expectThat(time >= 0, `kept() must give times in ms, got ${time}`);
        return time;
      });
      return Math.min(...told);
    };
    const first = await least();
    await c.pass(20);
    const second = await least();
    expectThat(second >= first, `the time must grow, was ${first}, is ${second}`);
    await c.eventually('20 ms have been counted', async () => (await least()) >= first + 20);
    if (c.underTest.advance === undefined) {
      const most = first + performance.now() - asked + 1_000;
      const last = await least();
      expectThat(last <= most || last === Number.POSITIVE_INFINITY, `no more than has passed, got ${last}`);
    }
    const { cache } = c;
    const primaries = Array.from({ length: 100 }, () => cache.primaryOf?.(c.key()) ?? '');
    const told = await cache.kept(prefix);
    expectEqual(
      [...new Set(primaries)].filter((name) => !told.has(name)),
      [],
      'primaries that hold keys and were not asked',
    );
    const key = c.key();
    await c.setValue(key, 2);
    await cache.kept(key);
    await c.expectHit(key, 2);
  });

  test('close: may be called twice, and calls after it reject', async (c) => {
    const key = c.key();
    await c.cache.close();
    await c.cache.close();
    await expectRejection(c.cache.read([key], 'utf8'), 'read after close');
    await expectRejection(c.cache.probe(key), 'probe after close');
    await expectRejection(c.cache.kept(key), 'kept after close');
    await expectRejection(
      c.cache.execute([{ kind: 'reserve', key, token: c.token(), holeTtlMs: LONG_MS }]),
      'execute after close',
    );
  });
}
