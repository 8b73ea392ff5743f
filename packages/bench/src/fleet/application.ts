/** A member of the fleet: an application that makes a few calls in each second, of all kinds. */
import { setTimeout as after } from 'node:timers/promises';
import { product } from '../bursts/product.js';
import { zipf } from '../peers/zipf.js';
import { fleetLockstep } from './lockstep.js';
import { serve } from './member.js';

/** Of a hundred calls: 80 read, 12 put, 4 update, 2 increment, and 2 delete and put what they have deleted. */
const KINDS = { read: 80, put: 92, update: 96, increment: 98 };

await serve(async (options) => {
  const { knex, lockstep, products } = fleetLockstep(options);
  const keyOf = zipf(options.products, 0.9);
  let [calls, failures, closing] = [0, 0, false];
  const call = async (n: number): Promise<unknown> => {
    const key = keyOf(n);
    const id = String(key);
    const kind = (n * 61) % 100;
    const row = { ...product(key), id, stock: n };
    if (kind < KINDS.read) return await products.get(id);
    if (kind < KINDS.put) return await products.put(id, row);
    if (kind < KINDS.update) return await products.update(id, (found) => ({ ...row, ...found, price: n }));
    if (kind < KINDS.increment) {
      return await products.get(id).then((found) => found && products.increment(id, 'stock', 1));
    }
    await products.delete(id);
    return await products.put(id, row);
  };
  const load = async (): Promise<void> => {
    while (!closing) {
      const next = calls++;
      call(next).catch(() => {
        failures += 1;
      });
      await after(1_000 / options.perSecond);
    }
  };
  const done = load();
  return {
    counts: () => ({ calls, failures }),
    async close() {
      closing = true;
      await done;
      await lockstep.close();
      await knex.destroy();
    },
  };
});
