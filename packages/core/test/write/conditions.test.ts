import { describe, expect, test } from 'vitest';
import {
  StoreBusyError,
  StoreContractError,
  StoreOverloadedError,
  StoreRefusedError,
  StoreTimeoutError,
  StoreUnavailableError,
} from '../../src/errors.js';
import { before, loseReply, refuse } from '../../src/faults/index.js';
import { CHAIR, elapse, LAMP, openShop, type Product, turns } from '../support/shop.js';

const sold = (row: Product | undefined): Product | undefined => row && { ...row, stock: row.stock - 1 };

describe('put and delete with ifVersion', () => {
  test('are applied at that version, and rejected with ConflictError at another', async () => {
    const shop = openShop();
    const { version } = await shop.products.put('a', LAMP);
    const next = await shop.products.put('a', CHAIR, { ifVersion: version });
    expect(next.version).toBeGreaterThan(version);
    const late = shop.products.put('a', LAMP, { ifVersion: version });
    await expect(late).rejects.toMatchObject({
      code: 'LOCKSTEP_CONFLICT',
      key: 'a',
      message: expect.stringContaining(`expected version ${version}, found version ${next.version}`),
    });
    await expect(shop.products.delete('a', { ifVersion: version })).rejects.toMatchObject({
      code: 'LOCKSTEP_CONFLICT',
    });
    expect(await shop.products.delete('a', { ifVersion: next.version })).toMatchObject({ value: null });
  });

  test('ifVersion null: only if there is no row', async () => {
    const shop = openShop();
    await shop.products.put('a', LAMP, { ifVersion: null });
    await expect(shop.products.put('a', CHAIR, { ifVersion: null })).rejects.toMatchObject({
      code: 'LOCKSTEP_CONFLICT',
      message: expect.stringContaining('expected no row'),
    });
    await shop.products.delete('a');
    expect(await shop.products.put('a', CHAIR, { ifVersion: null })).toMatchObject({ value: CHAIR });
  });

  test('a conflict makes an older cached value unreadable', async () => {
    const shop = openShop();
    const { version } = await shop.products.put('a', LAMP);
    await shop.rows.foreignWrite('a', CHAIR);
    await expect(shop.products.put('a', LAMP, { ifVersion: version })).rejects.toThrow('found version');
    expect(await shop.products.get('a')).toEqual(CHAIR);
  });
});

describe('update', () => {
  test('of a row that is not there says so, unless a row comes of it', async () => {
    const { lockstep, products } = openShop();
    const missing = { value: null, version: 0, store: 'missing', coalesced: false };
    expect(await products.update('a', (row) => row && { ...row, stock: 9 })).toMatchObject(missing);
    expect(await products.update('a', () => null)).toMatchObject(missing);
    await lockstep.transaction(async (tx) => {
      expect(await products.update('a', (row) => row, { tx })).toMatchObject(missing);
    });
    expect(await products.update('a', () => LAMP)).toMatchObject({ value: LAMP, store: 'committed' });
    expect(await products.update('a', () => undefined)).toMatchObject({ value: LAMP, store: 'committed' });
    await products.delete('a');
    expect(await products.update('a', (row) => row)).toMatchObject({ value: null, store: 'missing' });
  });

  test('that writes nothing in a transaction is pending as the rest of it', async () => {
    const { lockstep, products } = openShop();
    await products.put('a', LAMP);
    await lockstep.transaction(async (tx) => {
      const unchanged = { value: LAMP, store: 'pending', cache: 'pending' };
      expect(await products.update('a', (row) => row, { tx })).toMatchObject(unchanged);
      expect(await products.update('a', () => undefined, { tx })).toMatchObject(unchanged);
    });
  });

  test('starts from the cached value', async () => {
    const shop = openShop();
    await shop.products.put('a', LAMP);
    expect(await shop.products.update('a', sold)).toMatchObject({ value: { stock: 2 }, cache: 'updated' });
    expect(shop.storePlan.calls('read')).toBe(0);
  });

  test('starts from the store with fromCache: false', async () => {
    const shop = openShop();
    await shop.products.put('a', LAMP);
    await shop.rows.foreignWrite('a', CHAIR);
    let runs = 0;
    const change = (row: Product | undefined) => {
      runs += 1;
      return sold(row);
    };
    expect(await shop.products.update('a', change, { fromCache: false })).toMatchObject({
      value: { stock: 4 },
    });
    expect(runs).toBe(1);
  });

  test('runs again, on a fresh row, when the cached one was old', async () => {
    const shop = openShop();
    await shop.products.put('a', LAMP);
    await shop.rows.foreignWrite('a', CHAIR);
    const seen: (Product | undefined)[] = [];
    const result = await shop.products.update('a', (row) => {
      seen.push(row);
      return sold(row);
    });
    expect(seen).toEqual([LAMP, CHAIR]);
    expect(result.value).toEqual({ name: 'chair', stock: 4 });
  });

  test('loses nothing among many that run at once', async () => {
    const shop = openShop();
    const other = shop.join();
    await shop.products.put('a', { name: 'lamp', stock: 100 });
    const options = { retries: 1_000 };
    const updates = Array.from({ length: 40 }, (_, i) =>
      (i % 2 ? shop : other).products.update('a', sold, options),
    );
    await elapse(shop.clock, Promise.all(updates));
    expect(await shop.products.get('a', { fresh: true })).toMatchObject({ stock: 60 });
  });

  test('rejects with ConflictError after `retries` where the row can’t be locked', async () => {
    const shop = openShop();
    const capabilities = { ...shop.rows.capabilities, locks: false };
    const { products } = shop.joinStore({ ...shop.rows, capabilities });
    await products.put('a', LAMP);
    shop.storePlan.always(
      'write',
      before(() => shop.rows.foreignWrite('a', CHAIR)),
    );
    let runs = 0;
    const change = (row: Product | undefined) => {
      runs += 1;
      return sold(row);
    };
    await expect(elapse(shop.clock, products.update('a', change, { retries: 2 }))).rejects.toMatchObject({
      code: 'LOCKSTEP_CONFLICT',
    });
    expect(runs).toBe(3);
  });

  test('holds the row on its second try: whoever writes it meanwhile waits', async () => {
    const shop = openShop();
    await shop.products.put('a', LAMP);
    shop.storePlan.next(
      'write',
      before(() => shop.rows.foreignWrite('a', CHAIR)),
    );
    let foreign: Promise<void> | undefined;
    let runs = 0;
    const change = async (row: Product | undefined) => {
      runs += 1;
      if (runs === 2) {
        foreign = shop.rows.foreignWrite('a', LAMP);
        await turns();
      }
      return sold(row);
    };
    const result = await shop.products.update('a', change);
    expect(result).toMatchObject({
      value: { name: 'chair', stock: 4 },
      cache: 'updated',
      store: 'committed',
    });
    expect(runs).toBe(2);
    await foreign;
    const { version, value } = await shop.products.getVersioned('a', { fresh: true });
    expect(value).toEqual(LAMP);
    expect(version).toBeGreaterThan(result.version);
  });

  test('goes on without the lock where the store refuses under it', async () => {
    const shop = openShop();
    const read: typeof shop.rows.read = (keys, options) =>
      options.lock === true
        ? Promise.reject(new StoreRefusedError('cached plan must not change result type'))
        : shop.rows.read(keys, options);
    const { products } = shop.joinStore({ ...shop.rows, read });
    await products.put('a', LAMP);
    shop.storePlan.next(
      'write',
      before(() => shop.rows.foreignWrite('a', CHAIR)),
    );
    const results = await Promise.all([products.update('a', sold), products.update('a', sold)]);
    expect(results.map(({ value }) => value?.stock)).toEqual([4, 3]);
  });

  test('goes by what stands under the lock, and writes nothing where nothing is to be', async () => {
    const shop = openShop();
    await shop.products.put('a', LAMP);
    shop.storePlan.next(
      'write',
      before(() => shop.rows.foreignWrite('a', { name: 'chair', stock: 0 })),
    );
    const change = (row: Product | undefined) => (row?.stock === 0 ? undefined : sold(row));
    const result = await shop.products.update('a', change);
    expect(result).toMatchObject({ value: { name: 'chair', stock: 0 }, coalesced: false });
    await shop.products.put('a', CHAIR, { ifVersion: result.version });
  });

  test('does not run again after any other failure', async () => {
    const shop = openShop();
    await shop.products.put('a', LAMP);
    shop.storePlan.next('write', refuse());
    await expect(shop.products.update('a', sold)).rejects.toMatchObject({
      code: 'LOCKSTEP_STORE_UNAVAILABLE',
    });
    expect(shop.storePlan.calls('write')).toBe(2);
  });

  test('creates, deletes, or leaves alone', async () => {
    const shop = openShop();
    expect(await shop.products.update('a', () => LAMP)).toMatchObject({ value: LAMP });
    const writes = shop.storePlan.calls('write');
    expect(await shop.products.update('a', () => undefined)).toMatchObject({ value: LAMP });
    expect(shop.storePlan.calls('write')).toBe(writes);
    expect(await shop.products.update('a', () => null)).toMatchObject({ value: null });
    expect(await shop.products.update('a', () => null)).toMatchObject({ value: null });
    expect(shop.rows.keys()).toEqual([]);
  });

  test('an error of the change’s own propagates, with nothing written', async () => {
    const shop = openShop();
    const own = new Error('sold out');
    const failing = shop.products.update('a', () => {
      throw own;
    });
    await expect(failing).rejects.toBe(own);
    expect(shop.storePlan.calls('write')).toBe(0);
  });

  test('timeoutMs bounds it', async () => {
    const shop = openShop();
    const held = shop.storePlan.pauseNext('write');
    const updating = shop.products.update('a', () => LAMP, { timeoutMs: 50 });
    const seen = expect(updating).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_TIMEOUT' });
    await held.reached;
    shop.clock.advance(50);
    await seen;
    held.release();
  });

  test('a signal ends it', async () => {
    const shop = openShop();
    const held = shop.storePlan.pauseNext('write');
    const ending = new AbortController();
    const updating = shop.products.update('a', () => LAMP, { signal: ending.signal });
    const seen = expect(updating).rejects.toThrow('stop');
    await held.reached;
    ending.abort(new Error('stop'));
    await seen;
    held.release();
  });
});

describe('delete and many', () => {
  test('deleting what is not there succeeds', async () => {
    const shop = openShop();
    expect(await shop.products.delete('a')).toMatchObject({ value: null, version: 0 });
  });

  test('deleteMany deletes, position by position', async () => {
    const shop = openShop();
    await shop.products.putMany([
      ['a', LAMP],
      ['b', CHAIR],
      ['x', CHAIR],
    ]);
    await shop.rows.foreignWrite('x', null);
    const writes = shop.storePlan.calls('write');
    const results = await shop.products.deleteMany(['a', 'x', 'b']);
    expect(results.map(({ version }) => version > 0)).toEqual([true, false, true]);
    expect(shop.storePlan.calls('write')).toBe(writes + 1);
    expect(await shop.products.getMany(['a', 'b'])).toEqual([undefined, undefined]);
  });

  test('putMany and deleteMany send nothing for an entry that is none, or once the signal has aborted', async () => {
    const shop = openShop();
    const odd = shop.products.putMany([['a', LAMP], undefined as never]);
    await expect(odd).rejects.toMatchObject({ code: 'LOCKSTEP_INVALID_OPTION', option: 'entries[1]' });
    const signal = AbortSignal.abort(new Error('gone'));
    await expect(shop.products.putMany([['a', LAMP]], { signal })).rejects.toThrow(/^gone$/);
    await expect(shop.products.deleteMany(['a'], { signal })).rejects.toThrow(/^gone$/);
    expect(shop.storePlan.calls('write')).toBe(0);
  });

  test('putMany commits the others when some are refused: PartialWriteError says which', async () => {
    const shop = openShop({
      validate: ({ stock }) => {
        if (stock < 0) throw new Error('stock must not be negative');
      },
    });
    const writing = shop.products.putMany([
      ['a', LAMP],
      ['b', { name: 'bad', stock: -1 }],
      ['c', CHAIR],
      ['', CHAIR],
    ]);
    await expect(writing).rejects.toMatchObject({
      code: 'LOCKSTEP_PARTIAL_WRITE',
      message: expect.stringContaining('2 of 4 were not written'),
      results: [
        { status: 'fulfilled', value: { value: LAMP, cache: 'updated' } },
        { status: 'rejected', reason: { code: 'LOCKSTEP_STORE_REFUSED', key: 'b' } },
        { status: 'fulfilled', value: { value: CHAIR } },
        { status: 'rejected', reason: { code: 'LOCKSTEP_INVALID_ID' } },
      ],
    });
    expect(shop.rows.keys()).toEqual(['a', 'c']);
    expect(shop.storePlan.calls('write')).toBe(1);
  });

  test.each([
    ['some were refused', '', '1 of 3 were not written, 2 of 3 may have been written, or not: '],
    ['none was refused', 'c', ': 3 of 3 may have been written, or not: '],
  ])('putMany whose answer is lost does not say that nothing was written: %s', async (_, id, message) => {
    const shop = openShop();
    shop.storePlan.next('write', loseReply());
    const writing = shop.products.putMany([
      ['a', LAMP],
      ['b', LAMP],
      [id, CHAIR],
    ]);
    await expect(writing).rejects.toMatchObject({
      code: 'LOCKSTEP_PARTIAL_WRITE',
      message: expect.stringContaining(message),
    });
    expect(shop.rows.keys()).toEqual(id === '' ? ['a', 'b'] : ['a', 'b', 'c']);
  });

  test.each([
    [new StoreTimeoutError('late'), true],
    [new StoreContractError('odd'), true],
    [new StoreUnavailableError('lost', 'unknown'), true],
    [new StoreUnavailableError('away', 'not-committed'), false],
    [new StoreBusyError('held'), false],
    [new StoreOverloadedError('full'), false],
  ])('putMany says of each outcome what is so: %s', async (error, unknown) => {
    const shop = openShop();
    shop.storePlan.next('write', refuse(error));
    const writing = shop.products.putMany([
      ['a', LAMP],
      ['b', LAMP],
    ]);
    const message = unknown ? '2 of 2 may have been written, or not: ' : '2 of 2 were not written: ';
    await expect(writing).rejects.toThrow(message);
  });
});

describe('increment', () => {
  test('of a row that is not there is a StoreRefusedError', async () => {
    const shop = openShop();
    await expect(shop.products.increment('a', 'stock', 1)).rejects.toMatchObject({
      code: 'LOCKSTEP_STORE_REFUSED',
      message: expect.stringContaining('no row "a"'),
    });
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, 'x'])('by %s is an InvalidOptionError', async (by) => {
    const shop = openShop();
    await expect(shop.products.increment('a', 'stock', by as number)).rejects.toMatchObject({
      code: 'LOCKSTEP_INVALID_OPTION',
      option: 'by',
    });
  });

  test('of a field that is no number is refused', async () => {
    const shop = openShop();
    await shop.products.put('a', LAMP);
    await expect(shop.products.increment('a', 'name' as 'stock', 1)).rejects.toMatchObject({
      code: 'LOCKSTEP_STORE_REFUSED',
    });
  });
});
