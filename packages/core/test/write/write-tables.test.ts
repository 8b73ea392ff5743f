import { describe, expect, test } from 'vitest';
import { type Linked, LinkedList } from '../../src/write/linked-list.js';

class Item implements Linked<Item> {
  previous: Item | undefined;
  next: Item | undefined;
}

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
