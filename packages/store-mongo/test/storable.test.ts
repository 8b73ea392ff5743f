import { createLockstep } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import { type BSONSerializeOptions, Code, type Document } from 'mongodb';
import { beforeAll, describe, expect, test } from 'vitest';
import type { MongoCollection } from '../src/rows/collection.js';
import type { MongoStore } from '../src/store.js';
import { CALL, PRIMARY, testServer } from './support/server.js';

const server = testServer();
let store: MongoStore;

beforeAll(async () => {
  store = await server.store();
});

async function open(
  name: string,
  bson: BSONSerializeOptions = {},
): Promise<MongoCollection<Document, string>> {
  const things = store.collection<Document, string>(name, { bson });
  await store.attach([things]);
  await things.open();
  return things;
}

const nested = (levels: number): unknown => (levels === 0 ? 1 : { a: nested(levels - 1) });
const round: Document = {};
round['self'] = round;

/** Properties that the driver would store as something else, leave out, or fail for; and where the error says they are. */
const REFUSED: readonly (readonly [string, Document, string])[] = [
  ['a lone surrogate', { text: 'a\ud800' }, '"text" is text that is not well-formed'],
  ['one deep inside', { list: [{ text: '\udc00b' }] }, '"list.0.text" is text'],
  ['one in a name', { inner: { 'a\ud800': 1 } }, '"inner.a\\ud800" is a name that is not well-formed'],
  ['one in code', { code: new Code('\ud800') }, '"code.code" is text'],
  ['one in what toBSON gives', { own: { toBSON: () => ({ text: '\ud800' }) } }, '"own.text" is text'],
  ['U+0000 in a name', { inner: { 'a\0b': 1 } }, '"inner.a\\u0000b" is a name with U+0000'],
  ['undefined', { inner: [{ gone: undefined }] }, '"inner.0.gone" is undefined'],
  ['a function', { inner: { run: () => 1 } }, '"inner.run" is a function'],
  ['a symbol', { tag: Symbol('x') }, '"tag" is a symbol'],
  ['a bigint beyond 64 bits', { big: 2n ** 63n }, '"big" is a bigint beyond 64 bits'],
  ['an invalid date', { at: new Date(Number.NaN) }, '"at" is no time'],
  ['a Set', { tags: new Set([1]) }, '"tags" is a Set'],
  ['an Error', { error: new Error('x') }, '"error" is a Error'],
  ['typed numbers', { points: new Float64Array(1) }, '"points" is a Float64Array'],
  [
    'a Map with one name twice',
    {
      map: new Map<unknown, number>([
        ['1', 1],
        [1, 2],
      ]),
    },
    '"map.1" is a key of a Map',
  ],
  ['flags that BSON has not', { pattern: /a/u }, '"pattern" is a regular expression with the flags "u"'],
  ['too many levels', { deep: nested(180) }, ' is beyond 180 levels'],
  ['what leads back to itself', round, ' leads back to itself'],
  ['too much', { small: 1, huge: 'x'.repeat(17 * 2 ** 20) }, '"huge" makes the document too large'],
];

describe('what MongoDB would not give back as it was sent is refused by name, whichever way it is written', () => {
  test.each(REFUSED)('%s', async (title, properties, problem) => {
    const things = await open(`refused ${title}`);
    const put = (key: string, value: Document = properties) =>
      ({ kind: 'put', key, value: { _id: key, ...value }, above: 0 }) as const;
    const refused = {
      kind: 'failed',
      error: { code: 'LOCKSTEP_STORE_REFUSED', message: expect.stringContaining(problem) },
    };
    await things.write([put('row', { n: 1 })], CALL);
    const outcomes = await things.write([put('a'), put('row', { n: 2 }), put('b')], CALL);
    expect(outcomes).toMatchObject([refused, { kind: 'written' }, refused]);
    expect(await things.write([put('row')], CALL)).toMatchObject([refused]);
    expect(
      await things.write([{ kind: 'patch', key: 'row', set: properties, above: 0 }], CALL),
    ).toMatchObject([refused]);
    const far = (Date.now() + 1_000) * 1_000 + 1;
    const flush = { kind: 'flush', key: 'row', value: { _id: 'row', ...properties }, version: far } as const;
    expect(await things.write([flush], CALL)).toMatchObject([refused]);
    expect((await things.read(['row'], PRIMARY))[0]?.value).toEqual({ _id: 'row', n: 2 });
    const inside = store.transactions.transaction(async (tx) => {
      expect(await things.write([put('row')], { ...CALL, tx })).toMatchObject([refused]);
    }, CALL);
    await expect(inside).rejects.toMatchObject({ cause: refused.error });

    // And through the engine, before a buffer acknowledges it.
    const lockstep = createLockstep({ cache: memoryCache() });
    const options = {
      name: 'behind',
      store: things,
      strategy: 'write-behind',
      maxPayloadBytes: 2 ** 25,
    } as const;
    const behind = lockstep.collection(options);
    await behind.get('row');
    const code = expect.stringMatching(/^LOCKSTEP_(STORE_REFUSED|SERIALIZATION)$/);
    const error = { code, message: expect.stringContaining(problem) };
    await expect(behind.put('row', { _id: 'row', ...properties })).rejects.toMatchObject(error);
    await expect(behind.update('row', (row) => ({ ...row, ...properties }))).rejects.toMatchObject(error);
    expect((await behind.get('row'))?.['n']).toBe(2);
    await lockstep.close();
  });
});

test('names of fields that are counted, unset or lead into a document are checked, too', async () => {
  const things = await open('names');
  await things.write([{ kind: 'put', key: 'a', value: { _id: 'a', n: 1 }, above: 0 }], CALL);
  const bad = 'n\ud800';
  for (const command of [
    { kind: 'increment', key: 'a', field: bad, by: 1, above: 0 },
    { kind: 'patch', key: 'a', set: {}, unset: [bad], above: 0 },
    { kind: 'patch', key: 'a', set: { [`n.${bad}`]: 1 }, above: 0 },
    { kind: 'patch', key: 'a', set: { 'a.b.c': nested(178) }, above: 0 },
  ] as const) {
    const [outcome] = await things.write([command], CALL);
    expect(outcome).toMatchObject({ kind: 'failed', error: { code: 'LOCKSTEP_STORE_REFUSED' } });
    expect(outcome).toMatchObject({
      error: { message: expect.stringMatching(/"n(\.n)?\\ud800"|180 levels/) },
    });
  }
});

test('a document that the driver would read as a reference, or that is none, is refused', async () => {
  const things = await open('references');
  const refuse = async (value: unknown, problem: RegExp): Promise<void> => {
    const [outcome] = await things.write(
      [{ kind: 'put', key: 'a', value: value as Document, above: 0 }],
      CALL,
    );
    expect(outcome).toMatchObject({ kind: 'failed', error: { message: expect.stringMatching(problem) } });
  };
  await refuse({ _id: 'a', $ref: 'others', $id: 1 }, /"\$ref" is beside "\$id"/);
  await refuse(new Map([['n', 1]]), /the value must be a document, and is a Map/);
  await refuse(new Set([1]), /the value must be a document, and is a Set/);
  await refuse(new Date(0), /the value must be a document, and is a Date/);
  await things.write([{ kind: 'put', key: 'a', value: { _id: 'a' }, above: 0 }], CALL);
  const [patched] = await things.write([{ kind: 'patch', key: 'a', set: { $id: 1 }, above: 0 }], CALL);
  expect(patched).toMatchObject({ kind: 'failed', error: { message: expect.stringContaining('DBRef') } });
});

test('what comes back as it was sent is taken: names of operators, dots, 179 levels below the top, the largest document', async () => {
  const things = await open('taken');
  const texts = { $set: { $in: [1] }, 'a.b': 1, '': 2, text: '$$ROOT \u{1f600} \0', deep: nested(179) };
  const big = 16_777_216 - 19 - 5 - (1 + 4 + 4 + 1 + 1) - (1 + 2 + 4 + 1) - 1;
  for (const value of [
    { _id: 'a', ...texts },
    { _id: 'a', b: 'x'.repeat(big - 10) },
    {
      _id: 'a',
      map: new Map([
        ['b', 1],
        ['a', 2],
      ]),
      pattern: /a/gim,
      least: -(2n ** 63n),
      none: null,
    },
  ]) {
    const [outcome] = await things.write([{ kind: 'put', key: 'a', value, above: 0 }], CALL);
    expect(outcome).toMatchObject({ kind: 'written' });
  }
});

test('options of the driver that say what becomes of undefined and functions hold', async () => {
  const things = await open('lenient', { ignoreUndefined: true, serializeFunctions: true });
  const value = { _id: 'a', gone: undefined, run: () => 1 };
  const [outcome] = await things.write([{ kind: 'put', key: 'a', value, above: 0 }], CALL);
  expect(outcome).toMatchObject({ kind: 'written' });
  expect(Object.keys((await things.read(['a'], PRIMARY))[0]?.value ?? {})).toEqual(['_id', 'run']);
  const [list] = await things.write(
    [{ kind: 'put', key: 'b', value: { list: [undefined] }, above: 0 }],
    CALL,
  );
  expect(list).toMatchObject({ kind: 'failed', error: { message: expect.stringContaining('"list.0"') } });
});
