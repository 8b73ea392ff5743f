import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { memoryCache, memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { callbackStore } from '../../src/stores/callback-store.js';

/** What JavaScript lets a function throw; some have no text. */
const ODD: readonly (readonly [string, unknown])[] = [
  ['null', null],
  ['undefined', undefined],
  ['an object without a prototype', Object.assign(Object.create(null), { status: 503 })],
  ['a symbol', Symbol('odd')],
];

function open() {
  const lockstep = createLockstep({ cache: memoryCache() });
  return {
    lockstep,
    rows: lockstep.collection({ name: 'rows', store: memoryStore<{ n: number }>({ name: 'rows' }) }),
  };
}

async function thrownBy(call: () => Promise<unknown>): Promise<unknown> {
  try {
    await call();
  } catch (error) {
    return error;
  }
  throw new Error('it did not throw');
}

describe.each(ODD)('throwing %s', (_name, odd) => {
  const fails = async (): Promise<never> => {
    throw odd;
  };

  test('in a store’s functions rejects with a StoreUnavailableError', async () => {
    const { lockstep } = open();
    const c = lockstep.collection({
      name: 'c',
      store: callbackStore<{ n: number }>({ read: fails, write: fails, delete: fails }),
    });
    for (const call of [
      () => c.get('a'),
      () => c.put('a', { n: 1 }),
      () => c.delete('a'),
      () => c.getMany(['a', 'b']),
    ]) {
      const error = (await thrownBy(call)) as Error & { code: string };
      expect([error.code, error.cause]).toEqual(['LOCKSTEP_STORE_UNAVAILABLE', odd]);
    }
    await lockstep.close();
  });

  test('in through’s functions comes out as it is, and what was written then is not known', async () => {
    const { lockstep } = open();
    const record = lockstep.through<string>({ namespace: 'n', id: '1', reader: fails, writer: fails });
    expect(await thrownBy(() => record.read())).toBe(odd);
    expect(await thrownBy(() => record.write('x'))).toBe(odd);
    const reads = vi.fn(async () => 'loaded');
    const again = lockstep.through<string>({ namespace: 'n', id: '1', reader: reads });
    await again.read();
    await again.read();
    expect(reads).toHaveBeenCalledTimes(2);
    await lockstep.close();
  });

  test('in a body or a change function comes out as it is, and nothing is written', async () => {
    const { lockstep, rows } = open();
    await rows.put('a', { n: 1 });
    const inTransaction = lockstep.transaction(async (tx) => {
      await rows.put('a', { n: 2 }, { tx });
      throw odd;
    });
    expect(await thrownBy(() => inTransaction)).toBe(odd);
    const inWrite = rows.write('a', async (tx) => {
      await tx.set('rows', 'a', { n: 3 });
      throw odd;
    });
    expect(await thrownBy(() => inWrite)).toBe(odd);
    expect(await thrownBy(() => rows.update('a', fails))).toBe(odd);
    expect(await rows.get('a', { fresh: true })).toEqual({ n: 1 });
    await lockstep.close();
  });

  test('in a listener disturbs nobody, and is told', async () => {
    const { lockstep, rows } = open();
    const told: unknown[] = [];
    lockstep.events.on('write', () => {
      throw odd;
    });
    lockstep.events.on('write', fails as () => never);
    lockstep.events.on('error', ({ where, error }) => told.push(where, error));
    await rows.put('a', { n: 1 });
    await expect.poll(() => told).toEqual(['listener', odd, 'listener', odd]);
    await lockstep.close();
  });

  test('in a listener of errors ends in a process warning', async () => {
    const { lockstep, rows } = open();
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    onTestFinished(() => warned.mockRestore());
    for (const name of ['write', 'error'] as const) {
      lockstep.events.on(name, () => {
        throw odd;
      });
    }
    await rows.put('a', { n: 1 });
    expect(warned).toHaveBeenCalledWith(
      expect.stringContaining('listener'),
      expect.objectContaining({ code: 'LOCKSTEP_LISTENER' }),
    );
    await lockstep.close();
  });
});
