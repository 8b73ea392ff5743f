import type { StandardSchemaV1 } from '@standard-schema/spec';
import { describe, expect, test } from 'vitest';
import type { ViewOptions } from '../../src/contracts/views.js';
import { msgpackSerializer } from '../../src/serializers/msgpack.js';
import { openLists } from './lists.js';

/** A view of one value, and what is counted and told of it. */
function openView<Value>(load: () => Value, options: Partial<ViewOptions<undefined, Value>> = {}) {
  const lists = openLists();
  let loads = 0;
  const view = lists.lockstep.view<undefined, Value>({
    name: 'one',
    load: () => {
      loads++;
      return load();
    },
    dependsOn: () => lists.items.any(),
    ...options,
  });
  const told: string[] = [];
  const { events } = lists.lockstep;
  events.on('hit', ({ collection }) => void told.push(`${collection} hit`));
  events.on('miss', ({ collection, reason }) => void told.push(`${collection} ${reason}`));
  events.on('load', ({ collection }) => void told.push(`${collection} load`));
  const read = async () => {
    const value = await view.get(undefined);
    await lists.lockstep.drain();
    return { value, loads, told: told.splice(0) };
  };
  return { ...lists, read, view };
}

const even: StandardSchemaV1<unknown, number> = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: (value) =>
      (value as number) % 2 === 0 ? { value: value as number } : { issues: [{ message: 'odd' }] },
  },
};

describe('a view, as a collection,', () => {
  test('tells its hits, misses and loads', async () => {
    const { items, read } = openView(() => 1);
    expect((await read()).told).toEqual(['one absent', 'one load']);
    expect((await read()).told).toEqual(['one hit']);
    await items.put('1', { category: 'books', name: 'a' });
    expect((await read()).told).toEqual(['one changed', 'one load']);
  });

  test('has a time to live', async () => {
    const { clock, read } = openView(() => 1, { ttlMs: 1_000, ttlJitter: 0 });
    await read();
    clock.advance(999);
    expect(await read()).toMatchObject({ loads: 1 });
    clock.advance(1);
    expect(await read()).toMatchObject({ loads: 2 });
  });

  test('has a schema, whose mismatch is a miss', async () => {
    let n = 1;
    const { read } = openView(() => n, { schema: even });
    expect((await read()).value).toBe(1);
    n = 2;
    expect(await read()).toEqual({ value: 2, loads: 2, told: ['one schema', 'one load'] });
    expect(await read()).toEqual({ value: 2, loads: 2, told: ['one hit'] });
  });

  test('has a serializer', async () => {
    const value = { bytes: new Uint8Array([0, 255, 61, 10]), at: new Date(5) };
    const { read } = openView(() => value, { serializer: msgpackSerializer() });
    await read();
    const cached = await read();
    expect(cached.loads).toBe(1);
    expect(cached.value.at).toEqual(value.at);
    expect([...cached.value.bytes]).toEqual([...value.bytes]);
  });

  test('compresses, and does not cache what is too large', async () => {
    const long = 'long '.repeat(2_000);
    const compression = { algorithm: 'brotli', thresholdBytes: 100 } as const;
    const { memory, read } = openView(() => long, { compression });
    await read();
    expect(await read()).toMatchObject({ value: long, loads: 1 });
    let length = 0;
    for await (const { payload } of memory.scan('wtc:one%v:', 'utf8')) length += payload?.length ?? 0;
    expect(length).toBeGreaterThan(0);
    expect(length).toBeLessThan(1_000);
    const plain = openView(() => long, { maxPayloadBytes: 5_000 });
    await plain.read();
    expect(await plain.read()).toMatchObject({ value: long, loads: 2 });
  });

  test('bounds a load that hangs, whose place others get', async () => {
    let hangs = true;
    const never = new Promise<number>(() => undefined);
    const { clock, view } = openView<number | Promise<number>>(() => (hangs ? never : 1), {
      storeTimeoutMs: 300,
      maxConcurrentLoads: 1,
    });
    const reading = view.get(undefined);
    reading.catch(() => undefined);
    while (
      await Promise.race([
        reading.then(
          () => false,
          () => false,
        ),
        new Promise((r) => setImmediate(r, true)),
      ])
    )
      clock.advance(50);
    await expect(reading).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_TIMEOUT' });
    hangs = false;
    expect(await view.get(undefined)).toBe(1);
  });
});
