import { describe, expect, test } from 'vitest';
import { memoryCache, memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { jsonSerializer } from '../../src/serializers/json.js';
import { msgpackSerializer } from '../../src/serializers/msgpack.js';
import { copyOf } from '../../src/values/copy.js';
import { LAMP, openShop } from '../support/shop.js';

interface Draft {
  name: string;
  tags: string[];
  at: Date;
  photo: Uint8Array;
}

const draft = (): Draft => ({ name: 'lamp', tags: ['a'], at: new Date(0), photo: Buffer.from([1, 2]) });

/** Whatever a caller can do to what it was given, or gave. */
function spoil(value: Draft | null | undefined): void {
  if (value === null || value === undefined) return;
  value.name = 'spoilt';
  value.tags.push('spoilt');
  value.at.setFullYear(1999);
  value.photo.fill(9);
}

function openDrafts(options: object = {}, memory = memoryCache()) {
  const lockstep = createLockstep({ cache: memory });
  const store = memoryStore<Draft>({ name: 'drafts' });
  const drafts = lockstep.collection<Draft>({ name: 'drafts', store, ...options });
  const stored = async (key: string) =>
    (await store.read([key], { timeoutMs: 1_000, primary: true }))[0]?.value;
  return { lockstep, store, drafts, stored };
}

describe.each([jsonSerializer(), msgpackSerializer()])(
  'what is written belongs to the call ($name)',
  (serializer) => {
    test.each([
      ['through', {}],
      ['by the buffer', { strategy: 'write-behind' }],
    ])('put takes the value as it is, %s', async (_how, options) => {
      const { drafts, lockstep, stored } = openDrafts({ serializer, ...options });
      const own = draft();
      // The collection is not open yet.
      const first = drafts.put('a', own);
      spoil(own);
      await first;
      const next = draft();
      const second = drafts.put('b', next);
      spoil(next);
      await second;
      await drafts.flush();
      for (const key of ['a', 'b']) {
        expect(await stored(key)).toEqual({ ...draft(), photo: expect.anything() });
        expect(Buffer.from((await drafts.get(key))?.photo ?? [])).toEqual(Buffer.from([1, 2]));
        expect((await drafts.get(key))?.at).toEqual(new Date(0));
      }
      await lockstep.close();
    });

    test('putMany, patch and update take their values as they are', async () => {
      const { drafts, lockstep, stored } = openDrafts({ serializer });
      const own = draft();
      const many = drafts.putMany([['a', own]]);
      spoil(own);
      await many;
      const set = { tags: ['b'] };
      const patching = drafts.patch('a', set);
      set.tags.push('spoilt');
      await patching;
      expect((await stored('a'))?.tags).toEqual(['b']);
      let held: Draft | undefined;
      const updating = drafts.update('a', (row) => {
        held = { ...(row as Draft), tags: ['c'] };
        queueMicrotask(() => spoil(held));
        return held;
      });
      await updating;
      expect(held?.name).toBe('spoilt');
      expect(await stored('a')).toMatchObject({ name: 'lamp', tags: ['c'], at: new Date(0) });
      await lockstep.close();
    });

    test('what a call resolves with belongs to its caller', async () => {
      const { drafts, lockstep } = openDrafts({ serializer });
      const put = (await Promise.all([1, 2, 3].map(() => drafts.put('a', draft())))).map(
        ({ value }) => value,
      );
      const patched = await Promise.all([1, 2].map(() => drafts.patch('a', { name: 'lamp' })));
      const read = await Promise.all([
        drafts.get('a'),
        drafts.get('a'),
        ...(await drafts.getMany(['a', 'a'])),
      ]);
      await drafts.invalidate('a');
      const loaded = await Promise.all([drafts.get('a'), drafts.get('a'), drafts.getMany(['a', 'a'])]);
      const fresh = await Promise.all([1, 2, 3].map(() => drafts.get('a', { fresh: true })));
      const all = [...put, ...patched.map(({ value }) => value), ...read, ...loaded.flat(), ...fresh];
      expect(all).toHaveLength(16);
      for (const value of all) {
        expect(value).toMatchObject({ name: 'lamp', tags: ['a'], at: new Date(0) });
        expect([...(value as Draft).photo]).toEqual([1, 2]);
        spoil(value);
      }
      expect(await drafts.get('a')).toMatchObject({ name: 'lamp', tags: ['a'], at: new Date(0) });
      expect([...((await drafts.get('a')) as Draft).photo]).toEqual([1, 2]);
      await lockstep.close();
    });

    test('a value that a transaction has written is cached as it was written', async () => {
      const { drafts, lockstep } = openDrafts({ serializer });
      await lockstep.transaction(async (tx) => {
        spoil((await drafts.put('a', draft(), { tx })).value);
      });
      expect(await drafts.get('a')).toMatchObject({ name: 'lamp', tags: ['a'], at: new Date(0) });
      await lockstep.close();
    });

    test('the result of a buffered put belongs to its caller', async () => {
      const { drafts, lockstep } = openDrafts({ serializer, strategy: 'write-behind' });
      const put = await Promise.all([1, 2, 3].map(() => drafts.put('a', draft())));
      for (const { value } of put) {
        expect(value).toMatchObject({ name: 'lamp', tags: ['a'] });
        spoil(value);
      }
      expect(await drafts.get('a')).toMatchObject({ name: 'lamp', tags: ['a'], at: new Date(0) });
      await lockstep.close();
    });
  },
);

test('a reader that joins a load gets the row as loaded, whatever the first has done to it', async () => {
  const shop = openShop();
  await shop.rows.foreignWrite('a', LAMP);
  const fills = shop.cachePlan.pauseNext('execute', {
    when: (commands) => commands.some(({ kind }) => kind === 'fill'),
  });
  const first = shop.products.get('a').then((value) => Object.assign(value as object, { name: 'spoilt' }));
  const second = shop.products.get('a');
  await first;
  fills.release();
  expect(await second).toEqual(LAMP);
});

test('copyOf keeps what is shared among many objects', () => {
  const at = new Date(0);
  const value = { at, parts: Array.from({ length: 100 }, (_, n) => ({ n, at })), first: {}, last: {} };
  value.first = value.parts[0] as object;
  value.last = value.parts[99] as object;
  const copy = copyOf(value);
  expect(copy).toEqual(value);
  expect(copy.parts[0]).not.toBe(value.parts[0]);
  expect(copy.first).toBe(copy.parts[0]);
  expect(copy.last).toBe(copy.parts[99]);
  expect(copy.at).not.toBe(at);
  expect(new Set(copy.parts.map((part) => part.at))).toEqual(new Set([copy.at]));
  expect(copy.parts.every((part) => part.at === copy.at)).toBe(true);
});

test('copyOf keeps classes, cycles, shared parts and odd names', () => {
  class Money {
    readonly amount = { units: 1 };
  }
  const shared = { n: 1 };
  const odd = JSON.parse('{"__proto__":{"x":1}}') as object;
  const value: Record<string, unknown> = { one: shared, two: shared, money: new Money(), odd };
  value['self'] = value;
  const copy = copyOf(value);
  expect(copy).toEqual(value);
  expect(copy['self']).toBe(copy);
  expect(copy['one']).toBe(copy['two']);
  expect(copy['one']).not.toBe(shared);
  expect(copy['money']).toBeInstanceOf(Money);
  expect((copy['money'] as Money).amount).not.toBe((value['money'] as Money).amount);
  expect(Object.getPrototypeOf(copy['odd'])).toBe(Object.prototype);
  expect(Object.hasOwn(copy['odd'] as object, '__proto__')).toBe(true);
});
