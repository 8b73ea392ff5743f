import { describe, expect, test } from 'vitest';
import { KeyOrder, KeyPlace, type Ordered } from '../../src/write/key-order.js';
import { type Linked, LinkedList } from '../../src/write/linked-list.js';

class Item implements Linked<Item>, Ordered<Item> {
  readonly place: KeyPlace<Item>;
  previous: Item | undefined;
  next: Item | undefined;
  earlier: Item | undefined;
  later: Item | undefined;

  constructor(place = new KeyPlace<Item>('a')) {
    this.place = place;
  }
}

describe("items in their keys' order", () => {
  test('what stays is found after ten thousand others came and went', () => {
    const order = new KeyOrder<Item>();
    const staying = Array.from({ length: 3_000 }, (_, i) => {
      const item = new Item(order.place(`staying-${i}`));
      order.add(item);
      return item;
    });
    for (let i = 0; i < 10_000; i++) {
      const passing = new Item(order.place(`passing-${i}`));
      order.add(passing);
      order.delete(passing);
    }
    for (const item of staying) {
      expect(order.last(item.place.key)).toBe(item);
      expect(order.place(item.place.key)).toBe(item.place);
    }
    expect(order.last('passing-9999')).toBeUndefined();
  });

  test('the next one is first once the first has gone, and the last one is known', () => {
    const order = new KeyOrder<Item>();
    const place = order.place('a');
    const [a, b, c] = [new Item(place), new Item(place), new Item(place)];
    const other = new Item(order.place('b'));
    for (const item of [a, b, c, other]) order.add(item);
    expect([order.last('a'), order.last('b')]).toEqual([c, other]);
    expect(order.delete(b)).toBeUndefined();
    expect(order.delete(a)).toBe(c);
    expect(order.delete(c)).toBeUndefined();
    expect([order.last('a'), order.last('b')]).toEqual([undefined, other]);
  });

  test('an item can go right behind another', () => {
    const order = new KeyOrder<Item>();
    const place = order.place('a');
    const [a, b, between, end] = [new Item(place), new Item(place), new Item(place), new Item(place)];
    order.add(a);
    order.add(b);
    order.add(between, a);
    order.add(end, b);
    expect(order.last('a')).toBe(end);
    expect([order.delete(a), order.delete(between), order.delete(b)]).toEqual([between, b, end]);
  });

  test('when the last one goes, the one before it is last', () => {
    const order = new KeyOrder<Item>();
    const place = order.place('a');
    const [a, b] = [new Item(place), new Item(place)];
    order.add(a);
    order.add(b);
    order.delete(b);
    expect(order.last('a')).toBe(a);
  });
});

describe('a linked list', () => {
  test('items leave from anywhere, once, and point to nobody then', () => {
    const list = new LinkedList<Item>();
    const items = [new Item(), new Item(), new Item()] as const;
    for (const item of items) list.add(item);
    expect(list.delete(items[1])).toBe(true);
    expect(list.delete(items[1])).toBe(false);
    expect(list.first).toBe(items[0]);
    expect(list.delete(items[0])).toBe(true);
    expect([list.first, list.size]).toEqual([items[2], 1]);
    expect(list.delete(items[2])).toBe(true);
    expect([list.first, list.size]).toEqual([undefined, 0]);
    for (const { next, previous } of items) expect([next, previous]).toEqual([undefined, undefined]);
    list.add(items[0]);
    expect(list.first).toBe(items[0]);
  });
});
