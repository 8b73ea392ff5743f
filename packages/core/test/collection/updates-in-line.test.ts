import { expect, test } from 'vitest';
import { ConflictError, InvalidOptionError, StoreOverloadedError } from '../../src/errors.js';
import { before, loseReply, refuse } from '../../src/faults/index.js';
import { LAMP, openShop, type Product, turns } from '../support/shop.js';

type Shop = ReturnType<typeof openShop>;

const sold = (row: Product | undefined): Product => {
  if (row === undefined || row.stock === 0) throw new Error('sold out');
  return { ...row, stock: row.stock - 1 };
};

async function openStocked(stock: number, options: Parameters<typeof openShop>[0] = {}): Promise<Shop> {
  const shop = openShop(options);
  await shop.products.put('a', { name: 'lamp', stock });
  return shop;
}

const many = <T>(count: number, call: (i: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => call(i));

test('functions of one key run one after the other, and travel as one change', async () => {
  const shop = await openStocked(100);
  const writes = shop.storePlan.calls('write');
  const results = await Promise.all(many(60, () => shop.products.update('a', sold)));
  expect(results.map(({ value }) => value?.stock)).toEqual(many(60, (i) => 99 - i));
  expect(results.map(({ coalesced }) => coalesced)).toEqual(many(60, (i) => i < 59));
  expect(shop.storePlan.calls('write')).toBe(writes + 1);
  expect(shop.storePlan.calls('read')).toBe(0);
  const last = results.at(-1);
  expect(await shop.products.getVersioned('a', { fresh: true })).toMatchObject({
    value: last?.value,
    version: last?.version,
  });
});

test('those that come while a change is under way are the next one, from the row that it left', async () => {
  const shop = await openStocked(100);
  const held = shop.storePlan.pauseNext('write');
  const first = shop.products.update('a', sold);
  await held.reached;
  const others = many(5, () => shop.products.update('a', sold));
  await turns();
  held.release();
  expect((await first).coalesced).toBe(false);
  expect((await Promise.all(others)).map(({ value }) => value?.stock)).toEqual([98, 97, 96, 95, 94]);
  expect(shop.storePlan.calls('write')).toBe(3);
  expect(shop.storePlan.calls('read')).toBe(0);
});

test('the version of a row that nobody finds in the store passes no condition', async () => {
  const shop = await openStocked(10);
  const results = await Promise.all(many(3, () => shop.products.update('a', sold)));
  for (const { value, version } of results.slice(0, 2)) {
    await expect(shop.products.put('a', value as Product, { ifVersion: version })).rejects.toBeInstanceOf(
      ConflictError,
    );
    expect(await shop.products.get('a', { minVersion: version })).toMatchObject({ stock: 7 });
  }
  await shop.products.put('a', LAMP, { ifVersion: results[2]?.version ?? null });
});

test('a function that throws fails its own caller, one that returns nothing skips it', async () => {
  const shop = await openStocked(2);
  const changes = [
    () => undefined,
    sold,
    () => {
      throw new Error('my own');
    },
    () => undefined,
    sold,
    sold,
    () => undefined,
  ];
  const { version } = await shop.products.getVersioned('a');
  const results = await Promise.allSettled(changes.map((change) => shop.products.update('a', change)));
  const told = results.map((each) =>
    each.status === 'fulfilled'
      ? [each.value.value?.stock, each.value.coalesced]
      : (each.reason as Error).message,
  );
  expect(told).toEqual([[2, false], [1, true], 'my own', [1, true], [0, false], 'sold out', [0, false]]);
  expect(results[0]).toMatchObject({ value: { version } });
  const [, , , , last, , skipped] = results;
  expect(skipped).toEqual(last);
});

test('what a function did with a row that others made is forgotten with that row', async () => {
  const shop = await openStocked(1);
  const restock = before(() => shop.rows.foreignWrite('a', { name: 'lamp', stock: 5 }));
  shop.storePlan.next('write', restock);
  let failures = 0;
  const counted = (row: Product | undefined): Product => {
    if (row?.stock === 0) failures += 1;
    return sold(row);
  };
  const results = await Promise.all(many(3, () => shop.products.update('a', counted)));
  expect(failures).toBe(2);
  expect(results.map(({ value }) => value?.stock)).toEqual([4, 3, 2]);
});

test('a refusal unfolds the change: each runs by itself, in order, and only the one at fault fails', async () => {
  const shop = await openStocked(10, {
    validate: ({ stock }) => {
      if (stock < 0) throw new Error('stock must not be negative');
    },
  });
  const ran: number[] = [];
  const by = (amount: number, i: number) => (row: Product | undefined) => {
    ran.push(i);
    return row && { ...row, stock: row.stock - amount };
  };
  const amounts = [3, 4, 9, 1, 5];
  const results = await Promise.allSettled(
    amounts.map((amount, i) => shop.products.update('a', by(amount, i))),
  );
  expect(results.map((each) => (each.status === 'fulfilled' ? each.value.value?.stock : 'refused'))).toEqual([
    7,
    3,
    'refused',
    2,
    'refused',
  ]);
  expect(ran).toEqual([0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
  const versions = results.flatMap((each) => (each.status === 'fulfilled' ? [each.value.version] : []));
  expect(new Set(versions).size).toBe(3);
});

test('where nobody knows what the store makes of a change, the next function waits for it', async () => {
  const shop = openShop();
  const { returnsAsSent: _, ...store } = shop.rows;
  const sent: number[] = [];
  const one = shop.joinStore({
    ...store,
    write: (commands, call) => {
      sent.push(commands.length);
      return store.write(commands, call);
    },
  } as typeof shop.rows);
  await one.products.put('a', { name: 'lamp', stock: 10 });
  sent.length = 0;
  const results = await Promise.all(many(4, () => one.products.update('a', sold)));
  expect(sent).toEqual([1, 1, 1, 1]);
  expect(results.map(({ value, coalesced }) => [value?.stock, coalesced])).toEqual([
    [9, false],
    [8, false],
    [7, false],
    [6, false],
  ]);
});

test('so it is with coalesce: false, with rows that come and go, and with properties that do', async () => {
  const shop = await openStocked(10, { collection: { batch: { coalesce: false } } });
  const writes = shop.storePlan.calls('write');
  await Promise.all(many(3, () => shop.products.update('a', sold)));
  expect(shop.storePlan.calls('write')).toBe(writes + 3);

  const other = openShop();
  const seen: unknown[] = [];
  const step = (made: unknown) => (row: Product | undefined) => {
    seen.push(row);
    return made as Product | null;
  };
  const steps = [LAMP, { name: 'lamp' }, null, null, LAMP];
  const results = await Promise.all(steps.map((made) => other.products.update('a', step(made))));
  expect(seen).toEqual([undefined, LAMP, { name: 'lamp' }, undefined, undefined]);
  expect(results.map(({ value }) => value)).toEqual([LAMP, { name: 'lamp' }, null, null, LAMP]);
});

test('each function has a copy of its own, and each caller', async () => {
  const shop = await openStocked(10);
  const kept: Product[] = [];
  const results = await Promise.all(
    many(3, () =>
      shop.products.update('a', (row) => {
        const next = row as { stock: number } & Product;
        next.stock -= 1;
        kept.push(next);
        queueMicrotask(() => Object.assign(next, { stock: -1 }));
        return next;
      }),
    ),
  );
  expect(results.map(({ value }) => value?.stock)).toEqual([9, 8, 7]);
  for (const { value } of results) Object.assign(value as Product, { stock: -2 });
  expect(kept.map(({ stock }) => stock)).toEqual([-1, -1, -1]);
  expect(await shop.products.get('a')).toMatchObject({ stock: 7 });
  expect(await shop.products.update('a', sold)).toMatchObject({ value: { stock: 6 } });
});

test('a change whose fate is not known is so for all who had part in it', async () => {
  const shop = await openStocked(10);
  shop.storePlan.next('write', loseReply());
  const results = await Promise.allSettled(many(3, () => shop.products.update('a', sold)));
  for (const result of results) expect(result).toMatchObject({ reason: { outcome: 'unknown' } });
  expect(await shop.products.update('a', sold)).toMatchObject({ value: { stock: 6 } });
});

test('who comes while the row is read is not answered by that read alone', async () => {
  const shop = await openStocked(10);
  await shop.rows.foreignWrite('a', { name: 'lamp', stock: 0 });
  const held = shop.cachePlan.pauseNext('read');
  const first = shop.products.update('a', () => undefined);
  await held.reached;
  const late = shop.products.update('a', (row) => (row?.stock === 0 ? undefined : undefined));
  held.release();
  expect(await first).toMatchObject({ value: { stock: 10 } });
  expect(await late).toMatchObject({ value: { stock: 0 } });
});

test('a function that takes too long while others wait fails alone', async () => {
  const shop = await openStocked(10);
  const slow = shop.products.update('a', () => new Promise<Product>(() => undefined));
  const failing = expect(slow).rejects.toMatchObject({
    code: 'LOCKSTEP_CONFLICT',
    message: expect.stringContaining('did not end within 2500 ms while others waited'),
  });
  await turns();
  const others = many(3, () => shop.products.update('a', sold));
  await turns();
  shop.clock.advance(2_499);
  await turns();
  expect(shop.storePlan.calls('write')).toBe(1);
  shop.clock.advance(1);
  await failing;
  expect((await Promise.all(others)).map(({ value }) => value?.stock)).toEqual([9, 8, 7]);
});

test('a function has the time that it takes while nobody waits', async () => {
  const shop = await openStocked(10);
  const { promise, resolve } = Promise.withResolvers<void>();
  const slow = shop.products.update('a', async (row) => {
    await promise;
    return sold(row);
  });
  await turns();
  shop.clock.advance(60_000);
  await turns();
  resolve();
  expect(await slow).toMatchObject({ value: { stock: 9 } });
});

test('timeoutMs and signal end the wait of their own caller', async () => {
  const shop = await openStocked(10);
  const { promise, resolve } = Promise.withResolvers<void>();
  const ran: string[] = [];
  const noted = (name: string) => (row: Product | undefined) => {
    ran.push(name);
    return sold(row);
  };
  const slow = shop.products.update('a', async (row) => {
    await promise;
    return sold(row);
  });
  await turns();
  const ending = new AbortController();
  const late = shop.products.update('a', noted('late'), { timeoutMs: 50 });
  const stopped = shop.products.update('a', noted('stopped'), { signal: ending.signal });
  const patient = shop.products.update('a', noted('patient'));
  const failing = [
    expect(late).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_TIMEOUT' }),
    expect(stopped).rejects.toThrow('stop'),
  ];
  await turns();
  shop.clock.advance(50);
  ending.abort(new Error('stop'));
  await Promise.all(failing);
  resolve();
  expect(await slow).toMatchObject({ value: { stock: 9 } });
  expect(await patient).toMatchObject({ value: { stock: 8 } });
  expect(ran).toEqual(['patient']);
});

test('who gives up while its function runs keeps nobody waiting', async () => {
  const shop = await openStocked(10);
  const never = () => new Promise<Product>(() => undefined);
  const slow = shop.products.update('a', never, { timeoutMs: 50 });
  const failing = expect(slow).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_TIMEOUT' });
  await turns();
  const other = shop.products.update('a', sold);
  await turns();
  shop.clock.advance(50);
  await failing;
  expect(await other).toMatchObject({ value: { stock: 9 } });
});

test('as many may wait as writes may, and as long', async () => {
  const batch = { maxWaiting: 3, queueTimeoutMs: 1_000 };
  const shop = await openStocked(10, { collection: { batch } });
  const held = shop.storePlan.pauseNext('write');
  const first = shop.products.update('a', sold);
  await held.reached;
  const waiting = many(2, () => shop.products.update('a', sold));
  await turns();
  await expect(shop.products.update('a', sold)).rejects.toBeInstanceOf(StoreOverloadedError);
  await expect(shop.products.update('b', sold)).rejects.toThrow('3 calls wait for their turns already');
  const failing = waiting.map((each) => expect(each).rejects.toThrow('waited longer than 1000 ms'));
  shop.clock.advance(1_000);
  await Promise.all(failing);
  held.release();
  expect(await first).toMatchObject({ value: { stock: 9 } });
  expect(await shop.products.update('a', sold)).toMatchObject({ value: { stock: 8 } });
});

test('a row that can’t be read fails all who wait for it', async () => {
  const shop = await openStocked(10);
  shop.storePlan.next('read', refuse());
  const options = { fromCache: false };
  const updates = many(3, () => shop.products.update('a', sold, options));
  for (const update of await Promise.allSettled(updates)) {
    expect(update).toMatchObject({ reason: { code: 'LOCKSTEP_STORE_UNAVAILABLE' } });
  }
  expect(await shop.products.update('a', sold, options)).toMatchObject({ value: { stock: 9 } });
});

const calls: [string, (shop: Shop) => Promise<unknown>][] = [
  ['put', (shop) => shop.products.put('a', LAMP)],
  ['patch', (shop) => shop.products.patch('a', { stock: 1 })],
  ['delete', (shop) => shop.products.delete('a')],
  ['increment', (shop) => shop.products.increment('a', 'stock', 1)],
  ['update', (shop) => shop.products.update('a', sold)],
  ['write', (shop) => shop.products.write('a', async () => undefined)],
  [
    'another function’s update',
    (shop) => shop.products.update('b', () => shop.products.put('a', LAMP).then(() => LAMP)),
  ],
];

test.each(calls)('a function that writes its own row is refused by name: %s', async (_, call) => {
  const shop = await openStocked(10);
  const refused = {
    code: 'LOCKSTEP_INVALID_OPTION',
    message: expect.stringContaining('writes "a" while it changes that very row'),
  };
  const at = [0, 5];
  for (const waits of at) {
    const update = shop.products.update('a', async (row) => {
      await turns(waits);
      await call(shop);
      return sold(row);
    });
    await expect(update).rejects.toMatchObject(refused);
  }
  expect(await shop.products.get('a', { fresh: true })).toMatchObject({ stock: 10 });
  const { length } = await Promise.all([shop.products.update('a', sold), shop.products.get('a')]);
  expect(length).toBe(2);
});

test('a function may read its row, write others, and leave behind what writes it later', async () => {
  const shop = await openStocked(10);
  const other = shop.joinStore(shop.rows);
  let later: Promise<unknown> | undefined;
  const over = Promise.withResolvers<void>();
  await shop.products.update('a', async (row) => {
    await shop.products.get('a');
    await shop.products.put('b', LAMP);
    await other.products.put('c', LAMP);
    later = over.promise.then(() => shop.products.put('a', LAMP));
    return sold(row);
  });
  over.resolve();
  await later;
  expect(await shop.products.get('a')).toEqual(LAMP);
});

test('a value that the schema refuses fails its own caller', async () => {
  const schema = {
    '~standard': {
      version: 1 as const,
      vendor: 'test',
      validate: (value: unknown) =>
        (value as Product).stock < 0
          ? { issues: [{ message: 'negative' }] }
          : { value: { ...(value as Product), name: (value as Product).name.trim() } },
    },
  };
  const shop = await openStocked(3, { collection: { schema } });
  const writes = shop.storePlan.calls('write');
  const seen: unknown[] = [];
  const changes = many(4, (i) => (row: Product | undefined) => {
    seen.push(row);
    return { name: ` ${i} `, stock: (row?.stock ?? 0) - i };
  });
  const results = await Promise.allSettled(changes.map((change) => shop.products.update('a', change)));
  expect(results.map((each) => (each.status === 'fulfilled' ? each.value.value : each.reason.code))).toEqual([
    { name: '0', stock: 3 },
    { name: '1', stock: 2 },
    { name: '2', stock: 0 },
    'LOCKSTEP_VALIDATION',
  ]);
  expect(seen.slice(1)).toEqual([
    { name: '0', stock: 3 },
    { name: '1', stock: 2 },
    { name: '2', stock: 0 },
  ]);
  expect(shop.storePlan.calls('write')).toBe(writes + 1);
});

test('a wrong call is refused before it waits', async () => {
  const shop = await openStocked(10);
  await expect(shop.products.update('a', undefined as never)).rejects.toBeInstanceOf(InvalidOptionError);
});
