import { describe, expect, test } from 'vitest';
import type { Dependency, View } from '../../src/contracts/views.js';
import { InvalidIdError, InvalidOptionError, UnsupportedError } from '../../src/errors.js';
import { callbackStore } from '../../src/stores/callback-store.js';
import { type Any, type Items, openLists, type Product } from './lists.js';

describe('what a view depends on', () => {
  test.for([
    [
      'a property that is no tag',
      (items: Items) => items.where({ name: 'a' }),
      /\(name\) is not among the tags/,
    ],
    ['a part of a tag', (items: Items) => items.where({ tenant: 'a' }), /\(tenant\) is not among the tags/],
    [
      'nothing that a collection names',
      () => 'items' as never,
      /must return what any\(\), id\(\) or where\(\)/,
    ],
  ] as const)('%s is refused at definition', ([, dependsOn, message]) => {
    const { items, lockstep } = openLists();
    const define = (): unknown =>
      lockstep.view<{ name: string }, number>({
        name: 'v',
        load: () => 1,
        dependsOn: () => dependsOn(items),
      });
    expect(define).toThrow(InvalidOptionError);
    expect(define).toThrow(message);
  });

  test('must not be a collection without tags, nor a store that tells no changes', () => {
    const { lockstep, rows } = openLists();
    const plain = lockstep.collection({ name: 'plain', store: rows });
    expect(() => plain.any()).toThrow(/collection\("plain"\).tags: must be given/);
    const store = callbackStore<Product>({ read: async () => undefined, write: async () => undefined });
    expect(() => lockstep.collection({ name: 'callback', store, tags: [] })).toThrow(UnsupportedError);
  });

  test('is asked for with params that nobody gave, whatever it makes of them', () => {
    const { items, lockstep } = openLists();
    const define = (dependsOn: (params: Any) => Dependency | Dependency[]) => () =>
      lockstep.view({ name: `v${Math.random()}`, load: () => 1, dependsOn });
    expect(define(({ ids }) => ids.map((id) => items.id(id)))).not.toThrow();
    expect(define((params) => items.where(params as never))).not.toThrow();
    expect(define(({ ids }) => (ids.length > 3 ? items.any() : items.id(ids[0] as string)))).not.toThrow();
    expect(define(({ name }) => items.where({ name: `${name}!` }))).toThrow(/is not among the tags/);
  });

  test.for<[string, (items: Items) => (params: string, found?: readonly string[]) => Dependency[]]>([
    ['a parameter', (items) => (id, found) => [id, ...(found ?? [])].map((each) => items.id(each))],
    [
      'a default',
      (items) =>
        (id, found = []) =>
          [id, ...found].map((each) => items.id(each)),
    ],
    [
      'rest parameters',
      (items) =>
        (id, ...[found]) =>
          [id, ...(found ?? [])].map((each) => items.id(each)),
    ],
  ])('is not named by another view where loads find more: %s', ([, dependsOn]) => {
    const { items, lockstep } = openLists();
    const define = (name: string, own: (params: string, found?: string[]) => Dependency[]) =>
      lockstep.view<string, string[]>({ name, load: () => [], dependsOn: own });
    expect(() => define('finds', dependsOn(items)).of('a')).toThrow(/what its loads find/);
    expect(() => define('plain', (id) => [items.id(id)]).of('a')).not.toThrow();
  });

  test('goes in no circles', () => {
    const { items, lockstep } = openLists();
    let inner: View<string, number> | undefined;
    const outer = lockstep.view<string, number>({
      name: 'outer',
      load: () => 1,
      dependsOn: () => inner?.of('a') ?? items.any(),
    });
    inner = lockstep.view<string, number>({ name: 'inner', load: () => 1, dependsOn: () => outer.of('a') });
    expect(() => outer.of('a')).toThrow(/depends on itself/);
  });

  test('names and params are checked', async () => {
    const { items, lockstep } = openLists();
    const options = { name: 'list', load: () => 1, dependsOn: () => items.any() };
    expect(() => lockstep.view(options)).toThrow(/there already is a view "list"/);
    expect(() => lockstep.view({ ...options, name: 'items' })).toThrow(
      /there already is a collection "items"/,
    );
    const view = lockstep.view<unknown, number>({ ...options, name: 'other' });
    expect(() => lockstep.collection({ name: 'other', store: items as never })).toThrow(
      /there already is a view/,
    );
    await expect(view.get(new Map())).rejects.toThrow(InvalidIdError);
    await expect(view.get({ at: Number.NaN })).rejects.toThrow(/must not hold NaN/);
    await expect(view.get('a', { ttl: 1 } as never)).rejects.toThrow(InvalidOptionError);
  });
});
