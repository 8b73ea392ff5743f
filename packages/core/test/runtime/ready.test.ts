import { expect, test } from 'vitest';
import {
  createLockstep,
  InvalidOptionError,
  type NotReadyError,
  type QueueAdapter,
  type StoreAdapter,
} from '../../src/index.js';
import { memoryCache, memoryQueue, memoryStore } from '../../src/memory/index.js';

const away = (name: string) => (): Promise<never> => Promise.reject(new Error(`${name} is away`));

function storeThat(open: () => Promise<void>): StoreAdapter<unknown, string> {
  return new Proxy(memoryStore<unknown>({ name: 'rows' }), {
    get(target, member) {
      if (member === 'open') return open;
      const found: unknown = Reflect.get(target, member, target);
      return typeof found === 'function' ? found.bind(target) : found;
    },
  });
}

test('open() names everything that is not there', async () => {
  const cache = memoryCache();
  cache.probe = async () => new Map([['a:1', new Error('NOPERM')]]);
  const queue: QueueAdapter = memoryQueue();
  queue.status = away('the queue');
  const lockstep = createLockstep({ cache, queue });
  lockstep.collection({ name: 'rows', store: storeThat(away('the table')) });
  lockstep.collection({ name: 'good', store: memoryStore({ name: 'good' }) });
  const error: NotReadyError = await lockstep.open().then(
    () => expect.fail('it is not ready'),
    (reason) => reason,
  );
  expect(error.code).toBe('LOCKSTEP_NOT_READY');
  expect(error.problems).toMatchObject([
    { part: 'collection', name: 'rows', error: { message: 'the table is away' } },
    { part: 'cache', name: cache.name, error: { message: 'a:1: NOPERM' } },
    { part: 'queue', name: queue.name, error: { message: 'the queue is away' } },
  ]);
  expect(error.message).toContain('collection rows: the table is away; cache');
});

test('a cache server that is too old is named; one that does not say how old it is is taken', async () => {
  const cache = memoryCache();
  const info = await cache.info();
  cache.info = async () => ({ ...info, description: 'Redis 5.0.6', outdated: 'needs Redis 6.2' });
  const lockstep = createLockstep({ cache });
  await expect(lockstep.open()).rejects.toThrow(`cache ${cache.name}: Redis 5.0.6: needs Redis 6.2`);
  cache.info = away('INFO');
  await lockstep.open();
});

test('what hangs is named once its time is over, and what is mended afterwards is ready', async () => {
  let isThere = false;
  const store = storeThat(() => (isThere ? Promise.resolve() : new Promise(() => undefined)));
  const lockstep = createLockstep({ cache: memoryCache() });
  lockstep.collection({ name: 'rows', store, storeTimeoutMs: 20 });
  await expect(lockstep.open({ timeoutMs: 10 })).rejects.toThrow('collection rows: no answer within 10 ms');
  isThere = true;
  const other = createLockstep({ cache: memoryCache() });
  other.collection({ name: 'rows', store });
  await other.open();
  await other.open();
});

test('its options are checked, its signal is heard', async () => {
  const lockstep = createLockstep({ cache: memoryCache() });
  await expect(lockstep.open({ timeoutMs: 0 })).rejects.toThrow(InvalidOptionError);
  await expect(lockstep.open({ signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough');
  await lockstep.close();
  await expect(lockstep.open()).rejects.toThrow('closed');
});
