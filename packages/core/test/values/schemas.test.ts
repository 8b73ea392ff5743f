import type { StandardSchemaV1 } from '@standard-schema/spec';
import { describe, expect, test } from 'vitest';
import { InvalidOptionError } from '../../src/errors.js';
import { memoryCache, memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';

interface Item {
  readonly price: number;
}

const schemaOf = (
  validate: (value: Record<string, unknown>) => unknown,
  late = false,
): StandardSchemaV1<unknown, Item> => {
  const result = (value: unknown) => {
    const made = validate(value as Record<string, unknown>);
    return made === undefined ? { issues: [{ message: 'no' }] } : { value: made as Item };
  };
  return {
    '~standard': { version: 1, vendor: 'test', validate: late ? async (value) => result(value) : result },
  };
};

function openItems(schema: StandardSchemaV1<unknown, Item>) {
  const lockstep = createLockstep({ cache: memoryCache() });
  const store = memoryStore<Item>({ name: 'items' });
  return { lockstep, store, items: lockstep.collection<Item>({ name: 'items', store, schema }) };
}

describe.each([false, true])('a schema (late: %s)', (late) => {
  const coerced = schemaOf(
    ({ price }) => (Number.isNaN(Number(price)) ? undefined : { price: Number(price) }),
    late,
  );

  test('shows the row alike on a miss, on a hit, fresh, together, in a transaction, to update and as a result', async () => {
    const { items, lockstep, store } = openItems(coerced);
    await store.foreignWrite('a', { price: '1.50', secret: 's' } as unknown as Item);
    const shown = { price: 1.5 };
    expect(await items.get('a')).toEqual(shown);
    await lockstep.drain();
    expect(await items.getVersioned('a')).toMatchObject({ value: shown, from: 'cache' });
    expect(await items.get('a', { fresh: true })).toEqual(shown);
    expect(await items.getMany(['a', 'a'])).toEqual([shown, shown]);
    await items.invalidate('a');
    expect(await items.getMany(['a', 'a', 'none'])).toEqual([shown, shown, undefined]);
    expect(await lockstep.transaction((tx) => items.get('a', { tx }))).toEqual(shown);
    const written = await items.write('a', async () => undefined);
    expect(written.value).toEqual(shown);
    await items.update('a', (row) => {
      expect(row).toEqual(shown);
      return row;
    });
    expect((await items.put('b', { price: '2' } as unknown as Item)).value).toEqual({ price: 2 });
    await lockstep.close();
  });

  test('gives a row that it does not take as it is, on a miss and ever after', async () => {
    const { items, lockstep, store } = openItems(coerced);
    await store.foreignWrite('a', { price: 'dear' } as unknown as Item);
    for (let n = 0; n < 2; n++) {
      expect(await items.get('a')).toEqual({ price: 'dear' });
      await lockstep.drain();
    }
    await lockstep.close();
  });

  test('that changes its own output is refused by name at the first write, and nothing is written', async () => {
    const { items, lockstep, store } = openItems(
      schemaOf(({ price }) => ({ price: Number(price) * 2 }), late),
    );
    const refused = items.put('a', { price: 100 });
    await expect(refused).rejects.toBeInstanceOf(InvalidOptionError);
    await expect(refused).rejects.toThrow(
      'schema: must leave its own output as it is, since rows are read and written again: it makes { price: 400 } of { price: 200 }',
    );
    expect(store.keys()).toEqual([]);
    await store.foreignWrite('a', { price: 1 });
    await expect(
      items.update('a', ({ price }: Item = { price: 0 }) => ({ price: price + 1 })),
    ).rejects.toBeInstanceOf(InvalidOptionError);
    await lockstep.close();
  });

  test('that refuses its own output is refused, too', async () => {
    const { items, lockstep } = openItems(
      schemaOf(({ price }) => (typeof price === 'string' ? { price: Number(price) } : undefined), late),
    );
    await expect(items.put('a', { price: '1' } as unknown as Item)).rejects.toThrow('it refuses it (no)');
    await lockstep.close();
  });
});
