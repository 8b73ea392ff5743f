import { expect, test } from 'vitest';
import { InvalidIdError, StoreTimeoutError } from '../../src/errors.js';
import { hang } from '../../src/faults/index.js';
import { elapse, LAMP, openShop } from '../support/shop.js';

const COUNT = 2_000;
const ids = Array.from({ length: COUNT }, (_, index) => `many-${index}`);

test('a large getMany leaves room for others: neither refuses anything, and others need not wait for its end', async () => {
  const shop = openShop({ collection: { maxQueuedLoads: 200 } });
  await shop.rows.foreignWrite('many-1999', LAMP);
  let over = false;
  const many = shop.products.getMany(ids).then((values) => {
    over = true;
    return values;
  });
  for (let others = 0; others < 10; others++) {
    expect(await shop.products.get(`other-${others}`)).toBeUndefined();
    expect(over).toBe(false);
  }
  const values = await elapse(shop.clock, many);
  expect(values).toHaveLength(COUNT);
  expect(values.at(-1)).toEqual(LAMP);
  expect(values.filter((value) => value !== undefined)).toHaveLength(1);
});

test('a large getMany keeps its bounds, and asks for nothing more once it is over', async () => {
  const shop = openShop();
  shop.storePlan.always('read', hang());
  const reading = shop.products.getMany(ids, { timeoutMs: 100 });
  await expect(elapse(shop.clock, reading)).rejects.toThrow(StoreTimeoutError);
  const ending = new AbortController();
  const aborted = shop.products.getMany(ids, { signal: ending.signal });
  ending.abort(new Error('enough'));
  await expect(aborted).rejects.toThrow('enough');
});

test('a wrong id anywhere in a large getMany rejects it', async () => {
  const shop = openShop();
  await expect(elapse(shop.clock, shop.products.getMany([...ids, '']))).rejects.toThrow(InvalidIdError);
});
